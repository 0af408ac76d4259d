// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.plan

import scala.annotation.tailrec
import scala.collection.immutable.VectorMap
import scala.collection.mutable

import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.catalyst.plans.logical._
import org.apache.spark.sql.catalyst.trees.TreePattern.PYTHON_UDF

/** A plan, and the attribute in its output that is the result of a call. */
case class Supplied(plan: LogicalPlan, value: Attribute) {

  /** The same result from an operator around the plan. */
  def in(around: LogicalPlan): Supplied = copy(plan = around)
}

/** Finds the results of calls in a plan, or makes them. */
private class Scoring(rules: Rules) {
  private type Open = VectorMap[CallKey, Seq[Occurrence]]
  private type Values = Map[CallKey, Attribute]

  private val placement = new Placement(rules.together)
  private val ofFilters = mutable.Set[ExprId]()

  // whether a result that is there may serve an operator above, is for one rule or the other to say
  private val supply = new Supply(result => if (ofFilters(result.exprId)) rules.scoreOnce else rules.reuse)

  /** Whether a condition asks for no scoring: all its calls have been made. */
  def isFree(condition: Expression, plan: LogicalPlan): Boolean =
    countOf(score(Seq(condition), plan)._1) == countOf(plan)

  private def countOf(plan: LogicalPlan): Int = plan.collect { case made: ArrowEvalPython => made.udfs.size }.sum

  /**
   * The calls that an operator makes on the rows of one child: the child with their results, and which attribute is the
   * result of which call.
   */
  def score(
      expressions: Seq[Expression],
      child: LogicalPlan,
      forFilter: Boolean = false): (LogicalPlan, Map[CallKey, Attribute]) = {
    @tailrec
    def next(open: Open, plan: LogicalPlan, values: Values): (LogicalPlan, Values) =
      if (open.isEmpty) (plan, values)
      else {
        val (key, found) = first(open)
        val call = found.head.call
        val arguments = call.children.map(Calls.replace(_, values))
        val guard = Guards.any(found.map(one => usable(one.guard.map(Calls.replace(_, values)), plan)))
        val supplied = make(plan, call.copy(children = arguments), guard, forFilter)
        next(open - key, supplied.plan, values + (key -> supplied.value))
      }
    val calls = expressions.flatMap(if (rules.conditional) Calls.guarded(_) else Calls.in(_).map(Occurrence(_, Nil)))
    val ofChild = calls.filter(_.call.references.subsetOf(child.outputSet))
    next(ofChild.foldLeft(VectorMap.empty: Open) { (open, one) =>
      val key = Calls.keyOf(one.call)
      open.updated(key, open.getOrElse(key, Nil) :+ one)
    }, child, Map.empty)
  }

  /** The call that waits for no other: neither in its arguments nor, unless they wait for each other, in its guards. */
  private def first(open: Open): (CallKey, Seq[Occurrence]) = {
    def waits(expression: Expression, but: CallKey) =
      expression.containsPattern(PYTHON_UDF) &&
        Calls.in(expression).map(Calls.keyOf).exists(key => key != but && open.contains(key))
    val ready = open.filterNot { case (key, found) => found.head.call.children.exists(waits(_, key)) }
    ready.find { case (key, found) => !found.exists(_.guard.exists(waits(_, key))) }.getOrElse(ready.head)
  }

  /**
   * As much of a guard as can be computed below the operator. Less of it costs rows, never a result; but what may fail
   * where a condition before it does not hold, goes with that.
   */
  private def usable(guard: Seq[Expression], plan: LogicalPlan): Seq[Expression] = {
    def isUsable(condition: Expression) =
      condition.deterministic && Calls.isPlain(condition) && !condition.containsPattern(PYTHON_UDF) &&
        condition.references.subsetOf(plan.outputSet)
    val (first, rest) = guard.span(isUsable)
    first ++ rest.filter(condition => isUsable(condition) && Calls.isHarmless(condition))
  }

  private def make(plan: LogicalPlan, call: PythonUDF, guard: Option[Expression], forFilter: Boolean): Supplied =
    supply.find(plan, call, guard).getOrElse {
      val made = if (rules.join && guard.isEmpty) placement.best(plan, call) else placement.here(plan, call, guard)
      if (forFilter) ofFilters += made.value.exprId
      made
    }
}
