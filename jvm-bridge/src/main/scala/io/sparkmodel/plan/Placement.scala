// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.plan

import io.sparkmodel.call.{ModelCall, ScoreIf}
import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.catalyst.plans.logical._
import org.apache.spark.sql.catalyst.plans.logical.statsEstimation.EstimationUtils
import org.apache.spark.sql.catalyst.plans._
import org.apache.spark.sql.internal.SQLConf

/**
 * Where a call is made.
 *
 * @param joins whether calls that do not need each other become one operator
 */
private class Placement(joins: Boolean) {
  private val ClearlyFewer = 2 // estimates are rough, and rows that a join drops would be scored for nothing

  /** Right above a plan; with calls that are made there already, if it needs none of their results. */
  def here(plan: LogicalPlan, call: PythonUDF, guard: Option[Expression]): Supplied = {
    val name = ModelCall.handleOf(call).get.name
    val result = AttributeReference(name, call.dataType)()
    val sent = call.copy(children = call.children ++ guard.map(ScoreIf(_)))
    require(sent.references.subsetOf(plan.outputSet), s"$sent cannot be computed above ${plan.nodeName}")
    plan match {
      case node: ArrowEvalPython if joins && Calls.isOurs(node) && sent.references.subsetOf(node.child.outputSet) =>
        Supplied(node.copy(udfs = node.udfs :+ sent, resultAttrs = node.resultAttrs :+ result), result)
      case _ => Supplied(ArrowEvalPython(Seq(sent), Seq(result), plan, call.evalType), result)
    }
  }

  /** Right above a plan, or below a join or an expansion in it where there are clearly fewer rows. */
  def best(plan: LogicalPlan, call: PythonUDF): Supplied = {
    val lower = for {
      place <- below(plan, call)
      rows <- Rows.of(plan) if place.rows * ClearlyFewer <= rows
    } yield place.make()
    lower.getOrElse(here(plan, call, None))
  }

  private case class Place(rows: BigInt, make: () => Supplied) {
    def in(around: LogicalPlan => LogicalPlan): Place = copy(make = () => {
      val made = make()
      made.in(around(made.plan))
    })
  }

  /** The place with the fewest rows. */
  private def below(plan: LogicalPlan, call: PythonUDF): Option[Place] = plan match {
    case project: Project =>
      for {
        inner <- Lineage.through(project, call).flatMap(Lineage.asCall)
        place <- below(project.child, inner)
      } yield place.copy(make = () => {
        val made = place.make()
        made.in(Project(project.projectList :+ made.value, made.plan))
      })
    case _: Sort | _: ArrowEvalPython | _: RepartitionOperation
        if call.references.subsetOf(plan.children.head.outputSet) =>
      below(plan.children.head, call).map(_.in(child => plan.withNewChildren(Seq(child))))
    case expand: Expand if Lineage.passes(expand, call.references) =>
      Rows.of(expand.child).map(Place(_, () => {
        val made = here(expand.child, call, None)
        made.in(Lineage.withColumn(expand, made))
      }))
    case join: Join if !join.isStreaming =>
      for {
        side <- Lineage.sideOf(join, call.references)
        rows <- Rows.of(side)
        above = Place(rows, () => here(side, call, None))
        place = below(side, call).filter(_.rows * ClearlyFewer <= rows).getOrElse(above)
      } yield place.in(Lineage.withSide(join, side, _))
    case _ => None
  }
}

/** Estimated numbers of rows. */
private object Rows {

  /** From statistics where there are any, else from sizes; None if nothing is known. */
  def of(plan: LogicalPlan): Option[BigInt] = plan.stats.rowCount.orElse(plan match {
    case join: Join => for { left <- of(join.left); right <- of(join.right) } yield ofJoin(join, left, right)
    case _: Project | _: Filter | _: Sort | _: ArrowEvalPython | _: BatchEvalPython | _: RepartitionOperation =>
      of(plan.children.head)
    case expand: Expand => of(expand.child).map(_ * expand.projections.size)
    case _ =>
      val size = plan.stats.sizeInBytes
      if (size >= SQLConf.get.defaultSizeInBytes) None
      else Some((size / EstimationUtils.getSizePerRow(plan.output)).max(1))
  })

  private def ofJoin(join: Join, left: BigInt, right: BigInt): BigInt = join match {
    case Join(_, _, LeftExistence(_), _, _) => left
    case Join(_, _, _, None, _) => left * right
    // each row of the larger side finds its one partner on the smaller, as facts and dimensions do, or times and ranges
    case _ => left.max(right)
  }
}
