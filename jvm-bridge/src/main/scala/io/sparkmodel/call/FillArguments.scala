// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.call

import org.apache.spark.sql.catalyst.analysis.UnresolvedAttribute
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan
import org.apache.spark.sql.catalyst.rules.Rule
import org.apache.spark.sql.catalyst.trees.TreePattern.PYTHON_UDF

/** A call without arguments is one with the columns that the signature names. */
object FillArguments extends Rule[LogicalPlan] {
  override def apply(plan: LogicalPlan): LogicalPlan =
    plan.resolveExpressionsWithPruning(_.containsPattern(PYTHON_UDF)) {
      case ModelCall(call) if call.children.isEmpty =>
        val handle = ModelCall.handleOf(call).get
        val inputs = Signatures.of(handle).getOrElse(Nil)
        if (inputs.nonEmpty && !inputs.forall(input => input.name.isDefined && input.required))
          throw Binding.mismatch(
            Signatures.takes(handle),
            s"no columns were given, and the signature leaves some to choose: (${inputs.mkString(", ")})",
            s"name the columns, or write ${handle.name}(*)")
        if (inputs.isEmpty) call
        else call.copy(children = Seq(ArgumentRow.of(inputs.map { input =>
          input.name.get -> UnresolvedAttribute(Seq(input.name.get))
        })))
    }
}
