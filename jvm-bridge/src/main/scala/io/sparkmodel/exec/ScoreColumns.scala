// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import org.apache.spark.sql.catalyst.rules.Rule
import org.apache.spark.sql.execution._
import org.apache.spark.sql.execution.aggregate.BaseAggregateExec
import org.apache.spark.sql.execution.exchange.Exchange

/** Settles what an operator can only know from those around it, which are not there earlier. */
object ScoreColumns extends ColumnarRule {
  override def preColumnarTransitions: Rule[SparkPlan] = new Rule[SparkPlan] {
    override def apply(plan: SparkPlan): SparkPlan =
      if (!plan.exists(_.isInstanceOf[ModelScoreExec])) plan
      else settle(
        plan.transformUp { case score: ModelScoreExec => score.copy(isColumnar = takesColumns(score)) },
        mayLend = true,
        endsEarly = false)
  }

  /**
   * @param mayLend whether who takes the plan's batches is done with each when it asks for the next one, as it must be
   *   with those of Spark's own readers of files; a batch's memory is used again then
   * @param endsEarly whether somebody above may want no more than a few of the plan's rows
   */
  private def settle(plan: SparkPlan, mayLend: Boolean, endsEarly: Boolean): SparkPlan = {
    val (lend, early) = (lendsTo(plan, mayLend), needsFew(plan, endsEarly))
    plan.mapChildren(settle(_, lend, early)) match {
      case score: ModelScoreExec => score.copy(isColumnar = mayLend && takesColumns(score), isRamping = endsEarly)
      case other => other
    }
  }

  private def lendsTo(plan: SparkPlan, mayLend: Boolean): Boolean = plan match {
    case _: ModelScoreExec => true
    case _: UnionExec => mayLend // hands on what it is given
    case other => !other.supportsColumnar // it gets rows then, copied from columns one by one
  }

  private def needsFew(plan: SparkPlan, endsEarly: Boolean): Boolean = plan match {
    case _: Exchange | _: SortExec | _: BaseAggregateExec | _: TakeOrderedAndProjectExec => false
    case _: LimitExec => true
    case _ => endsEarly
  }

  /** Whether there are columns, and all that are put out again survive a copy in Arrow as they are. */
  private def takesColumns(score: ModelScoreExec): Boolean =
    score.child.supportsColumnar && score.kept.forall(a => KeptTypes.isExact(a.dataType))
}
