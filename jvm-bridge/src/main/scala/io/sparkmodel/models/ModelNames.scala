// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.models

import io.sparkmodel.call.ModelAnalysisException
import io.sparkmodel.catalog.DescribeCatalogModel
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.catalyst.analysis._
import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.catalyst.plans.logical.{DescribeFunction, LogicalPlan, Project, ShowFunctions}
import org.apache.spark.sql.catalyst.rules.Rule
import org.apache.spark.sql.catalyst.trees.TreePattern._
import org.apache.spark.unsafe.types.UTF8String

/**
 * Finds models among the functions that a query names, and makes calls of ML_PREDICT of them.
 *
 * It runs before Spark looks for functions, which it would refuse otherwise (`injectHintResolutionRule`). ML_PREDICT is
 * a function of ours that Spark resolves as its own: columns, stars, named arguments.
 */
class ModelNames(session: SparkSession) extends Rule[LogicalPlan] {
  override def apply(plan: LogicalPlan): LogicalPlan =
    KeptCalls.rewritten(session).applyOrElse(plan, identity[LogicalPlan]).resolveOperatorsDownWithPruning(
      _.containsAnyPattern(UNRESOLVED_FUNCTION, UNRESOLVED_TABLE_VALUED_FUNCTION, UNRESOLVED_FUNC, COMMAND)) {
      case table: UnresolvedTableValuedFunction if isPredict(table.name) => PredictCall.table(table)
      case DescribeFunction(name: UnresolvedFunctionName, _)
          if name.multipartIdentifier.size > 1 && CatalogModels.isCatalog(session, name.multipartIdentifier.head) =>
        DescribeCatalogModel(name.multipartIdentifier.head, name.multipartIdentifier.tail)
      case show @ ShowFunctions(UnresolvedNamespace(Seq(catalog), _), _, true, _, _)
          if CatalogModels.isCatalog(session, catalog) => show.copy(systemScope = false)
      case node => node.transformExpressionsWithPruning(_.containsPattern(UNRESOLVED_FUNCTION)) {
        case call: UnresolvedFunction if isPredict(call.nameParts) => filled(PredictCall.starAsRow(call))
        case call: UnresolvedFunction if Targets.isModel(session, call.nameParts, call.arguments) =>
          filled(PredictCall(call))
      }
    }

  private def filled(call: UnresolvedFunction): UnresolvedFunction = call.arguments match {
    case Seq(Literal(model: UTF8String, _)) =>
      call.copy(arguments = call.arguments ++ Targets.columns(session, model.toString))
    case _ => call
  }

  private def isPredict(name: Seq[String]): Boolean = name.size == 1 && name.head.equalsIgnoreCase(MlPredict.Name)
}

/** The forms of a call, before its arguments are resolved. */
private object PredictCall {

  /** `m(a, b)` as `ml_predict('m', a, b)`. */
  def apply(call: UnresolvedFunction): UnresolvedFunction =
    starAsRow(call.copy(
      nameParts = Seq(MlPredict.Name),
      arguments = Literal(nameOf(call)) +: call.arguments))

  /** The model's name as ML_PREDICT wants it. */
  def nameOf(call: UnresolvedFunction): String = call.nameParts.map(quoted).mkString(".")

  /** `ml_predict('m', *)` as `ml_predict('m', struct(*))`: columns by name, those that the model does not take unread. */
  def starAsRow(call: UnresolvedFunction): UnresolvedFunction = call.arguments match {
    case model +: rest if rest.exists(isStar) =>
      val (options, columns) = rest.partition(_.isInstanceOf[NamedArgumentExpression])
      call.copy(arguments = model +: row(columns) +: options)
    case _ => call
  }

  def table(call: UnresolvedTableValuedFunction): LogicalPlan = call.functionArgs match {
    case data +: model +: rest =>
      val columns = rest.collectFirst { case f: UnresolvedFunction if isNamed(f, "descriptor") => f.arguments }
      val options = rest.filterNot { case f: UnresolvedFunction => isNamed(f, "descriptor"); case _ => false }
      val arguments = columns.getOrElse(Seq(row(Seq(UnresolvedStar(None)))))
      val call = UnresolvedFunction(
        Seq(MlPredict.Name), (nameOf(model) +: arguments) ++ options.flatMap(option), isDistinct = false)
      PredictTable(Project(Seq(UnresolvedStar(None), Alias(call, PredictTable.Column)()), planOf(data)))
    case _ => throw wrong("it takes a table and a model")
  }

  private def planOf(data: Expression): LogicalPlan = data match {
    case table: FunctionTableSubqueryArgumentExpression => table.plan
    case query: ScalarSubquery => query.plan
    case _ => throw wrong("its first argument is no table")
  }

  private def nameOf(model: Expression): Expression = model match {
    case name: UnresolvedAttribute => Literal(name.nameParts.map(quoted).mkString("."))
    case other => other
  }

  private def option(argument: Expression): Seq[Expression] = argument match {
    case named: NamedArgumentExpression => Seq(named)
    case map: UnresolvedFunction if isNamed(map, "map") && map.arguments.size % 2 == 0 =>
      map.arguments.grouped(2).map {
        case Seq(Literal(key, _), value) => NamedArgumentExpression(key.toString, value)
        case _ => throw wrong("the keys of its options are not literals")
      }.toSeq
    case _ => throw wrong("after the model it takes DESCRIPTOR(column, ...) and options")
  }

  private def wrong(fact: String): ModelAnalysisException = ModelAnalysisException(
    "SCHEMA_MISMATCH", "Cannot call 'ML_PREDICT'", fact,
    "write ML_PREDICT(TABLE(t), MODEL m, DESCRIPTOR(a, b), on_error => 'null')")

  private def row(columns: Seq[Expression]): Expression = UnresolvedFunction(Seq("struct"), columns, isDistinct = false)

  private def isStar(argument: Expression): Boolean = argument.isInstanceOf[Star]

  private def isNamed(call: UnresolvedFunction, name: String): Boolean =
    call.nameParts.size == 1 && call.nameParts.head.equalsIgnoreCase(name)

  private def quoted(part: String): String =
    if (part.matches("[A-Za-z_][A-Za-z0-9_]*")) part else "`" + part.replace("`", "``") + "`"
}
