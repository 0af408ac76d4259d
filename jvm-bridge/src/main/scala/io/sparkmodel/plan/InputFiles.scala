// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.plan

import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.catalyst.plans.logical._
import org.apache.spark.sql.catalyst.rules.Rule
import org.apache.spark.sql.catalyst.trees.TreePattern.PYTHON_UDF

/**
 * Computes the name of the file that a row was read from below the calls.
 *
 * `input_file_name()` is what its task reads at the moment, and calls are sent ahead: above them it would be that of a
 * later row.
 */
object InputFiles extends Rule[LogicalPlan] {
  override def apply(plan: LogicalPlan): LogicalPlan =
    if (!plan.containsPattern(PYTHON_UDF) || !plan.exists(_.expressions.exists(_.exists(isOfFile)))) plan
    else plan.transformUpWithPruning(_.containsPattern(PYTHON_UDF)) {
      case operator: UnaryNode if operator.expressions.exists(_.exists(isOfFile)) && hasCalls(operator) =>
        computedBelow(operator)
    }

  private def computedBelow(operator: UnaryNode): LogicalPlan = {
    val asked = operator.expressions.flatMap(_.collect { case one if isOfFile(one) => one }).distinctBy(_.canonicalized)
    val made = asked.map(one => Alias(one, one.prettyName)())
    val values = asked.map(_.canonicalized).zip(made.map(_.toAttribute)).toMap
    val above = operator.transformExpressions { case one if isOfFile(one) => values(one.canonicalized) }
    val done = above.withNewChildren(Seq(below(operator.child, made)))
    if (done.output.map(_.exprId) == operator.output.map(_.exprId)) done else Project(operator.output, done)
  }

  /** The plan with these values as further columns, computed where no call is made any more. */
  private def below(plan: LogicalPlan, made: Seq[Alias]): LogicalPlan = plan match {
    case Project(list, child) if hasCalls(plan) => Project(list ++ made.map(_.toAttribute), below(child, made))
    case _: Filter | _: Sample | _: ArrowEvalPython | _: BatchEvalPython if hasCalls(plan) =>
      plan.withNewChildren(Seq(below(plan.children.head, made)))
    case generate: Generate if hasCalls(plan) => Lineage.over(generate, below(generate.child, made))
    case _ => Project(plan.output ++ made, plan)
  }

  private def isOfFile(expression: Expression): Boolean = expression match {
    case _: InputFileName | _: InputFileBlockStart | _: InputFileBlockLength => true
    case _ => false
  }

  private def hasCalls(plan: LogicalPlan): Boolean =
    plan.containsPattern(PYTHON_UDF) && plan.exists(_.expressions.exists(Calls.contains))
}
