// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.plan

import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.catalyst.plans._
import org.apache.spark.sql.catalyst.plans.logical._

/** What an expression over the output of an operator is over the output of its children. */
private object Lineage {
  private val MaxSize = 1000 // aliases of aliases can double in size with each

  /** An operator that puts out rows of its child, each with all columns: none of them new, changed or joined. */
  object PassThrough {
    def unapply(plan: LogicalPlan): Option[LogicalPlan] = plan match {
      case _: Filter | _: Sort | _: GlobalLimit | _: LocalLimit | _: Offset | _: Tail | _: Sample | _: Window |
          _: Generate | _: RepartitionOperation | _: RebalancePartitions | _: EventTimeWatermark |
          _: BatchEvalPython => Some(plan.children.head)
      case _ => None
    }
  }

  /** The same over the input of a projection; None if that computes what must not be computed twice. */
  def through(project: Project, expression: Expression): Option[Expression] = {
    val values = project.projectList.collect { case alias: Alias => alias.exprId -> alias.child }.toMap
    val used = expression.references.toSeq.flatMap(a => values.get(a.exprId))
    if (!used.forall(value => value.deterministic && Calls.isPlain(value))) None
    else {
      val replaced = expression.transform { case a: AttributeReference => values.getOrElse(a.exprId, a) }
      if (replaced.references.subsetOf(project.child.outputSet) && isSmall(replaced)) Some(replaced) else None
    }
  }

  def asCall(expression: Expression): Option[PythonUDF] = Some(expression).collect { case Calls.Movable(call) => call }

  /** The arguments over what is as far down as they can be followed. */
  def origin(arguments: Seq[Expression], plan: LogicalPlan): Seq[Expression] =
    arguments.map(follow(_, plan).canonicalized)

  private def follow(expression: Expression, plan: LogicalPlan): Expression =
    if (!expression.references.subsetOf(plan.outputSet)) expression
    else plan match {
      case project: Project => through(project, expression).fold(expression)(follow(_, project.child))
      case PassThrough(child) => follow(expression, child)
      case node: ArrowEvalPython => follow(expression, node.child)
      case join: Join => sideOf(join, expression.references).fold(expression)(follow(expression, _))
      case _ => expression
    }

  /**
   * The side of a join that all these attributes come from, if its rows come out as they went in: not with NULLs where
   * nothing matched. What is computed on both sides of a join of streams is part of its state, and left alone.
   */
  def sideOf(join: Join, attributes: AttributeSet): Option[LogicalPlan] = {
    val sides = join.joinType match {
      case _ if join.left.isStreaming && join.right.isStreaming => Nil
      case _: InnerLike => Seq(join.left, join.right)
      case LeftOuter | LeftExistence(_) => Seq(join.left)
      case RightOuter => Seq(join.right)
      case _ => Nil
    }
    sides.find(side => attributes.subsetOf(side.outputSet))
  }

  /** Whether these attributes are in all the rows that are made of one as they are in that. */
  def passes(expand: Expand, attributes: AttributeSet): Boolean = attributes.forall { attribute =>
    val at = expand.output.indexWhere(_.exprId == attribute.exprId)
    at >= 0 && expand.projections.forall(_(at).semanticEquals(attribute))
  }

  /** An operator over a child that has more columns than before, wherever they are. */
  def over(operator: LogicalPlan, child: LogicalPlan): LogicalPlan = operator match {
    case generate: Generate => // it tells by their places which columns it drops
      val dropped = generate.unrequiredChildIndex.map(generate.child.output(_).exprId)
      val places = dropped.map(id => child.output.indexWhere(_.exprId == id)).filter(_ >= 0)
      generate.copy(child = child, unrequiredChildIndex = places)
    case other => other.withNewChildren(Seq(child))
  }

  def withColumn(expand: Expand, column: Supplied): Expand =
    if (passes(expand, AttributeSet(column.value))) expand.copy(child = column.plan)
    else Expand(expand.projections.map(_ :+ column.value), expand.output :+ column.value, column.plan)

  def withSide(join: Join, old: LogicalPlan, side: LogicalPlan): Join =
    if (old eq join.left) join.copy(left = side) else join.copy(right = side)

  private def isSmall(expression: Expression): Boolean = {
    var size = 0
    expression.foreach(_ => size += 1)
    size <= MaxSize
  }
}
