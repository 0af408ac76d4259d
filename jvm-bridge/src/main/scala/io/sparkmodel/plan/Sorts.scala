// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.plan

import io.sparkmodel.call.ModelCall
import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.catalyst.plans.logical._
import org.apache.spark.sql.catalyst.trees.TreePattern.PYTHON_UDF
import org.apache.spark.sql.internal.SQLConf

/** Moves calls above a sort of which only the first rows are wanted: the others need no prediction. */
private object TopRows {
  private val Many = 32768L

  def scoreLate(plan: LogicalPlan): LogicalPlan = plan.transformUpWithPruning(_.containsPattern(PYTHON_UDF)) {
    case limit @ (_: GlobalLimit | _: LocalLimit | _: Offset) if !limit.isStreaming =>
      limit.children.head match {
        case sort @ Sort(order, true, Project(list, child), _) if order.forall(o => canPass(list, o)) =>
          val (late, early) = list.partition(Calls.contains)
          if (late.isEmpty) limit
          else {
            val needed = AttributeSet.fromAttributeSets(late.map(_.references))
            val more = needed -- early.collect { case already: Attribute => already }
            val sorted = sort.withNewChildren(Seq(Project(early ++ more.toSeq, child)))
            val above = list.map(one => if (late.contains(one)) one else one.toAttribute)
            Project(above, limit.withNewChildren(Seq(sorted)))
          }
        case Project(list, child) if list.exists(Calls.contains) && list.forall(_.deterministic) && isSorted(child) =>
          Project(list, limit.withNewChildren(Seq(child)))
        case _ => limit
      }
  }

  /**
   * Many first rows come in one partition, which is no task to score them in: they are spread, and sorted once more.
   */
  def scoreInTasks(plan: LogicalPlan): LogicalPlan =
    if (SQLConf.get.numShufflePartitions == 1) plan
    else plan.transformDownWithPruning(_.containsPattern(PYTHON_UDF)) {
      case above @ Project(list, limit)
          if list.exists(Calls.contains) && !limit.isStreaming && limit.maxRows.exists(_ > Many) =>
        orderOf(limit).filter(_.forall(_.references.subsetOf(AttributeSet(list.collect { case a: Attribute => a }))))
          .fold[LogicalPlan](above) { order =>
            val spread = Repartition(SQLConf.get.numShufflePartitions, shuffle = true, limit)
            Sort(order, global = true, above.copy(child = spread))
          }
    }

  private def orderOf(plan: LogicalPlan): Option[Seq[SortOrder]] = plan match {
    case sort: Sort if sort.global && sort.order.forall(_.deterministic) => Some(sort.order)
    case _: GlobalLimit | _: LocalLimit | _: Offset => orderOf(plan.children.head)
    case _ => None
  }

  private def canPass(list: Seq[NamedExpression], order: SortOrder): Boolean = list.forall { one =>
    !Calls.contains(one) || (one.deterministic && !order.references.contains(one.toAttribute))
  }

  private def isSorted(plan: LogicalPlan): Boolean = plan match {
    case sort: Sort => sort.global
    case _: GlobalLimit | _: LocalLimit | _: Offset => isSorted(plan.children.head)
    case _ => false
  }
}

/**
 * Puts an exchange between calls and a sort, or a repartitioning by ranges. To find the ranges Spark computes all that
 * is to be sorted once more; it finds it in the files of the exchange then, and does not score again.
 */
private object Ranges {

  def exchangeBelow(plan: LogicalPlan): LogicalPlan =
    if (plan.isStreaming || SQLConf.get.numShufflePartitions == 1) plan else exchangeBelow(plan, isTop = false)

  // the top rows of a sort are taken in each partition, without ranges
  private def exchangeBelow(plan: LogicalPlan, isTop: Boolean): LogicalPlan = plan match {
    case _ if !plan.containsPattern(PYTHON_UDF) => plan
    case Sort(order, true, child, _) if !isTop && isScoredBelow(child) =>
      plan.withNewChildren(Seq(exchanged(order, exchangeBelow(child, isTop = false))))
    case RepartitionByExpression(expressions, child, _, _) if isScoredBelow(child) =>
      val order = expressions.collect { case one: SortOrder => one }
      val below = exchangeBelow(child, isTop = false)
      plan.withNewChildren(Seq(if (order.isEmpty) below else exchanged(order, below)))
    case other =>
      val ofLimit = other.isInstanceOf[GlobalLimit] || other.isInstanceOf[LocalLimit]
      val stays = other.isInstanceOf[Project] || other.isInstanceOf[Offset]
      other.mapChildren(exchangeBelow(_, ofLimit || (stays && isTop)))
  }

  private def exchanged(order: Seq[SortOrder], plan: LogicalPlan) =
    RepartitionByExpression(order.map(_.child), plan, None)

  /** Whether calls are made with no exchange above them. */
  private def isScoredBelow(plan: LogicalPlan): Boolean = plan match {
    case node: ArrowEvalPython if node.udfs.exists(ModelCall.handleOf(_).isDefined) => true
    case Join(left, right, _, _, _) =>
      (isSmall(left) && isScoredBelow(right)) || (isSmall(right) && isScoredBelow(left))
    case _: Aggregate | _: GlobalLimit | _: RepartitionOperation | _: RebalancePartitions => false
    case window: Window => window.partitionSpec.isEmpty && isScoredBelow(window.child)
    case sort: Sort if sort.global => false
    case other => other.children.exists(isScoredBelow)
  }

  // such a side of a join is broadcast, and the other one not exchanged
  private def isSmall(side: LogicalPlan): Boolean = side.stats.sizeInBytes <= SQLConf.get.autoBroadcastJoinThreshold
}
