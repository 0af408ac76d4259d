// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.sql

import io.sparkmodel.plan.ModelCall
import org.apache.spark.sql.catalyst.analysis.UnresolvedAttribute
import org.apache.spark.sql.catalyst.expressions.{Alias, Attribute, Expression}
import org.apache.spark.sql.catalyst.plans.logical.{LogicalPlan, Project, UnaryNode}
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
            handle,
            s"no columns were given, and the signature leaves some to choose: (${inputs.mkString(", ")})",
            "name the columns")
        call.copy(children = inputs.map(input => UnresolvedAttribute(Seq(input.name.get))))
    }
}

/** Refuses a call whose columns do not fit, before anything runs. */
object CheckCalls extends Rule[LogicalPlan] {
  override def apply(plan: LogicalPlan): LogicalPlan = {
    plan.foreach(node => if (node.containsPattern(PYTHON_UDF)) node.expressions.foreach(_.foreach(check)))
    plan
  }

  private def check(expression: Expression): Unit = expression match {
    case ModelCall(call) if call.childrenResolved => Fit.check(ModelCall.handleOf(call).get, call.children)
    case _ =>
  }
}

/**
 * `ML_PREDICT(TABLE(t), MODEL m, ...)` in a FROM clause: its child is the table with a prediction as last column, whose
 * name may be one of the table's.
 */
case class PredictTable(child: LogicalPlan) extends UnaryNode {
  override def output: Seq[Attribute] = child.output
  override lazy val resolved: Boolean = false
  override protected def withNewChildInternal(newChild: LogicalPlan): PredictTable = copy(child = newChild)
}

object PredictTable {
  val Column = "prediction"
}

/** The column is `prediction`, or `prediction_1` where the table has one of that name. */
object ResolvePredictTable extends Rule[LogicalPlan] {
  override def apply(plan: LogicalPlan): LogicalPlan = plan.resolveOperatorsUp {
    case PredictTable(child) if child.resolved =>
      val taken = child.output.init.map(_.name.toLowerCase).toSet
      if (!taken.contains(PredictTable.Column)) child
      else {
        val free = Iterator.from(1).map(i => s"${PredictTable.Column}_$i").find(!taken.contains(_)).get
        Project(child.output.init :+ Alias(child.output.last, free)(), child)
      }
  }
}
