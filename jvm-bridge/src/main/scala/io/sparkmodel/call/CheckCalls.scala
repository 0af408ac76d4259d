// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.call

import org.apache.spark.sql.catalyst.expressions.Expression
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan
import org.apache.spark.sql.catalyst.rules.Rule
import org.apache.spark.sql.catalyst.trees.TreePattern.PYTHON_UDF

/** Refuses a call whose columns do not fit, before anything runs. */
object CheckCalls extends Rule[LogicalPlan] {
  override def apply(plan: LogicalPlan): LogicalPlan = {
    plan.foreach(node => if (node.containsPattern(PYTHON_UDF)) node.expressions.foreach(_.foreach(check)))
    plan
  }

  private def check(expression: Expression): Unit = expression match {
    case ModelCall(call) if call.childrenResolved =>
      val handle = ModelCall.handleOf(call).get
      Sendable.check(handle, call.children)
      Fit.check(handle, call.children)
    case _ =>
  }
}
