// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.commands

import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan
import org.apache.spark.sql.catalyst.rules.Rule

/** Refuses a statement before it runs. */
object CheckStatements extends Rule[LogicalPlan] {
  override def apply(plan: LogicalPlan): LogicalPlan = plan match {
    case command: ModelCommand => command.check(); plan
    case _ => plan
  }
}
