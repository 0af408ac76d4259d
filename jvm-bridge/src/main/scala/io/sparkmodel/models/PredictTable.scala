// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.models

import org.apache.spark.sql.catalyst.expressions.{Alias, Attribute}
import org.apache.spark.sql.catalyst.plans.logical.{LogicalPlan, Project, UnaryNode}
import org.apache.spark.sql.catalyst.rules.Rule

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
