// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.models

import io.sparkmodel.parse.Tokens
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.catalyst.analysis.UnresolvedFunction
import org.apache.spark.sql.catalyst.expressions.SubqueryExpression
import org.apache.spark.sql.catalyst.plans.logical._
import org.apache.spark.sql.execution.command.CreateSQLFunctionCommand
import org.apache.spark.sql.sparkmodel.SqlInternals

/**
 * Calls of models in the texts that Spark keeps: those of permanent views and of SQL functions.
 *
 * What is kept must not refer to functions of the session, which a model may be, and is read again where nothing says that
 * the name was a model's. So `m(a)` is kept as `ml_predict('m', a)`.
 */
private object KeptCalls {

  /** A statement that keeps a text, with its calls of models as ML_PREDICT. */
  def rewritten(session: SparkSession): PartialFunction[LogicalPlan, LogicalPlan] = {
    case view: CreateView if !view.query.resolved =>
      view.copy(originalText = view.originalText.map(query(session, _)), query = calls(session, view.query))
    case view: AlterViewAs if !view.query.resolved =>
      view.copy(originalText = query(session, view.originalText), query = calls(session, view.query))
    case function: CreateUserDefinedFunction =>
      function.copy(
        exprText = function.exprText.map(expression(session, _)), queryText = function.queryText.map(query(session, _)))
    case function: CreateSQLFunctionCommand =>
      function.copy(
        exprText = function.exprText.map(expression(session, _)), queryText = function.queryText.map(query(session, _)))
  }

  private def calls(session: SparkSession, plan: LogicalPlan): LogicalPlan = plan.transformAllExpressionsWithSubqueries {
    case call: UnresolvedFunction if isKept(session, call) => PredictCall(call)
  }

  private def expression(session: SparkSession, text: String): String = {
    val parsed = SqlInternals.parseExpression(session, text)
    val queries = parsed.collect { case query: SubqueryExpression => query.plan }
    patched(session, text, parsed.collect { case call: UnresolvedFunction => call } ++ queries.flatMap(within))
  }

  private def query(session: SparkSession, text: String): String =
    patched(session, text, within(SqlInternals.parsePlan(session, text)))

  private def within(plan: LogicalPlan): Seq[UnresolvedFunction] = plan.collectWithSubqueries { case node => node }.flatMap {
    case common: UnresolvedWith => own(common) ++ common.innerChildren.flatMap { case inner: LogicalPlan => within(inner) }
    case node => own(node)
  }

  private def own(node: LogicalPlan): Seq[UnresolvedFunction] =
    node.expressions.flatMap(_.collect { case call: UnresolvedFunction => call })

  private def isKept(session: SparkSession, call: UnresolvedFunction): Boolean =
    !call.isDistinct && Targets.isModel(session, call.nameParts, call.arguments, isKept = true)

  // Where a call is, Spark says in code points of the text that its parser saw.
  private def patched(session: SparkSession, text: String, calls: Seq[UnresolvedFunction]): String = {
    val kept = calls.filter(isKept(session, _))
    if (kept.isEmpty) text
    else {
      val seen = kept.head.origin.sqlText.getOrElse(text)
      val tokens = new Tokens(seen).toVector
      val starts = kept.flatMap(call => call.origin.startIndex.map(seen.offsetByCodePoints(0, _) -> call)).distinctBy(_._1)
      starts.sortBy(-_._1).foldLeft(seen) { case (result, (start, call)) =>
        val first = tokens.indexWhere(_.start == start)
        val open = tokens.indexWhere(_.word == "(", first)
        val comma = if (tokens(open + 1).word == ")") "" else ", "
        val name = PredictCall.nameOf(call).replace("\\", "\\\\").replace("'", "\\'")
        result.patch(start, s"${MlPredict.Name}('$name'$comma", tokens(open).end - start)
      }
    }
  }
}
