// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.plan

import scala.annotation.tailrec

import io.sparkmodel.call.ModelCall
import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.catalyst.expressions.aggregate.AggregateExpression
import org.apache.spark.sql.catalyst.optimizer.{CollapseProject, ColumnPruning}
import org.apache.spark.sql.catalyst.plans.InnerLike
import org.apache.spark.sql.catalyst.plans.logical._
import org.apache.spark.sql.catalyst.rules.Rule
import org.apache.spark.sql.catalyst.trees.TreePattern.PYTHON_UDF

/**
 * Takes calls of models out of the operators of a plan, so that no row is scored twice or in vain.
 *
 * Each call becomes an `ArrowEvalPython` below its operator, as Spark itself would make it at the end of its
 * optimization. That is too late: by then a call in a filter and the same call above it are two, and other rules
 * cannot see what scoring costs. This rule is for `injectPreCBORule`, when filters have been pushed down.
 */
object ScoreOnce extends Rule[LogicalPlan] {
  override def apply(plan: LogicalPlan): LogicalPlan = plan match {
    // becomes a join of the plan around it
    case subquery: Subquery if subquery.correlated => plan
    case _ if !plan.containsPattern(PYTHON_UDF) => plan
    case _ =>
      val rules = Rules.ofSession
      Checked(plan) { plan =>
        val rewritten = new ScoreOnce(rules).rewrite(plan)
        // a scan takes its columns from a projection right above it, where there is a call now
        if (rewritten.fastEquals(plan)) plan else CollapseProject(ColumnPruning(rewritten))
      }
  }
}

private class ScoreOnce(rules: Rules) extends PredicateHelper {
  private val scoring = new Scoring(rules)

  def rewrite(plan: LogicalPlan): LogicalPlan =
    if (rules.scoreOnce) {
      val late = TopRows.scoreInTasks(TopRows.scoreLate(InferredFilters.drop(plan)))
      Ranges.exchangeBelow(rewriteAll(late))
    }
    else rewriteAll(plan)

  private def rewriteAll(plan: LogicalPlan): LogicalPlan = plan.transformUpWithPruning(_.containsPattern(PYTHON_UDF)) {
    case operator if operator.expressions.exists(Calls.contains) => rewriteOne(operator)
  }

  private def rewriteOne(operator: LogicalPlan): LogicalPlan = operator match {
    case filter: Filter => if (rules.scoreOnce) withOutput(filter.output, rewriteFilter(filter)) else filter
    case join: Join => withOutput(join.output, rewriteJoin(join))
    case aggregate: Aggregate => rewriteAggregate(aggregate)
    case _: Project | _: Sort | _: Window | _: Generate | _: RepartitionByExpression =>
      val (child, values) = scoring.score(operator.expressions, operator.children.head)
      withOutput(operator.output, Lineage.over(replaced(operator, values), child))
    case _ => operator
  }

  /**
   * Conditions without a call go first, then those whose calls cost nothing more; each of the others sees only the
   * rows that the ones before have left.
   */
  private def rewriteFilter(filter: Filter): LogicalPlan = {
    // as Spark's own push-down does: nothing overtakes what is not deterministic
    val (free, fixed) = splitConjunctivePredicates(filter.condition).span(_.deterministic)
    val (called, plain) = free.partition(Calls.contains)
    val below = plain.reduceOption(And(_, _)).fold(filter.child)(Filter(_, filter.child))
    val (done, others) = called.partition(scoring.isFree(_, below))
    val filtered = filterEach(others, done.foldLeft(below)((plan, condition) => filterOne(condition, plan)), Set.empty)
    fixed.foldLeft(filtered)((plan, condition) => filterOne(condition, plan))
  }

  /** First those whose calls are made for a condition before. */
  @tailrec
  private def filterEach(conditions: Seq[Expression], plan: LogicalPlan, made: Set[CallKey]): LogicalPlan =
    if (conditions.isEmpty) plan
    else {
      val next = conditions.find(keysOf(_).subsetOf(made)).getOrElse(conditions.head)
      filterEach(conditions.filterNot(_ eq next), filterOne(next, plan), made ++ keysOf(next))
    }

  private def keysOf(condition: Expression): Set[CallKey] = Calls.in(condition).map(Calls.keyOf).toSet

  private def filterOne(condition: Expression, plan: LogicalPlan): LogicalPlan = {
    val (child, values) = scoring.score(Seq(condition), plan, forFilter = true)
    Calls.replace(condition, values) match {
      case more if child eq plan => child match {
        case Filter(earlier, input) if more.deterministic => Filter(And(earlier, more), input)
        case _ => Filter(more, child)
      }
      case first => Filter(first, child)
    }
  }

  private def rewriteJoin(join: Join): LogicalPlan = {
    val conditions = join.condition.toSeq.flatMap(splitConjunctivePredicates)
    def isOfBoth(call: PythonUDF) =
      !call.references.subsetOf(join.left.outputSet) && !call.references.subsetOf(join.right.outputSet)
    val (above, kept) = join.joinType match {
      // a join cannot compute it; Spark would take it out as well, but when it is too late to share it
      case _: InnerLike if rules.scoreOnce => conditions.partition(Calls.in(_).exists(isOfBoth))
      case _ => (Nil, conditions)
    }
    val (left, leftValues) = scoring.score(kept, join.left)
    val (right, rightValues) = scoring.score(kept.map(Calls.replace(_, leftValues)), join.right)
    val condition = kept.map(c => Calls.replace(Calls.replace(c, leftValues), rightValues)).reduceOption(And(_, _))
    val joined = join.copy(left = left, right = right, condition = condition)
    if (above.isEmpty) joined else rewriteFilter(Filter(above.reduce(And(_, _)), joined))
  }

  /** Calls for each row of the input are made below it, calls for each of its results above it. */
  private def rewriteAggregate(aggregate: Aggregate): LogicalPlan = {
    val (results, lower) = AggregateCalls.above(aggregate)
    val (child, values) = scoring.score(lower.groupingExpressions ++ lower.aggregateExpressions, lower.child)
    val below = replaced(lower, values).withNewChildren(Seq(child))
    results.fold(below)(list => rewriteOne(Project(list, below)))
  }

  private def replaced(operator: LogicalPlan, values: Map[CallKey, Attribute]): LogicalPlan =
    operator.mapExpressions(Calls.replace(_, values))

  private def withOutput(output: Seq[Attribute], plan: LogicalPlan): LogicalPlan =
    if (plan.output.map(_.exprId) == output.map(_.exprId)) plan else Project(output, plan)
}

/** The calls in the result of an aggregate that are made once for each group. */
private object AggregateCalls {

  /** What to project above the aggregate, if anything, and the aggregate without that. */
  def above(aggregate: Aggregate): (Option[Seq[NamedExpression]], Aggregate) = {
    val isAbove = aggregate.aggregateExpressions.map(hasCall(_, aggregate))
    if (!isAbove.contains(true)) (None, aggregate)
    else {
      var made = Map[Expression, NamedExpression]()
      def take(part: Expression): Attribute = made.getOrElse(part.canonicalized, {
        val named = part match {
          case already: NamedExpression => already
          case other => Alias(other, "aggregate")()
        }
        made += part.canonicalized -> named
        named
      }).toAttribute
      def lift(part: Expression): Expression =
        if (isOfAggregate(part, aggregate)) take(part) else part.mapChildren(lift)
      val results = aggregate.aggregateExpressions.zip(isAbove).map {
        case (result, true) => lift(result).asInstanceOf[NamedExpression] -> None
        case (result, false) => result.toAttribute -> Some(result)
      }
      val kept = results.flatMap(_._2)
      val added = made.values.filterNot(one => kept.exists(_.exprId == one.exprId))
      (Some(results.map(_._1)), aggregate.copy(aggregateExpressions = kept ++ added))
    }
  }

  private def isOfAggregate(part: Expression, aggregate: Aggregate): Boolean =
    part.isInstanceOf[AggregateExpression] || aggregate.groupingExpressions.exists(_.semanticEquals(part))

  private def hasCall(part: Expression, aggregate: Aggregate): Boolean =
    part.containsPattern(PYTHON_UDF) && !isOfAggregate(part, aggregate) && (part match {
      case ModelCall(_) => true
      case _: SubqueryExpression | _: LambdaFunction => false
      case other => other.children.exists(hasCall(_, aggregate))
    })
}
