// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.plan

import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.atomic.AtomicLong

import scala.util.control.NonFatal

import org.apache.spark.sql.catalyst.plans.logical.{LogicalPlan, LogicalPlanIntegrity}
import org.slf4j.LoggerFactory

/**
 * A rule that only saves work must never fail a query: what it makes is looked at as Spark's own tests look at its
 * rules, and the plan stays as it was if there is something wrong.
 */
object Checked {
  private val log = LoggerFactory.getLogger("io.sparkmodel.plan")
  private val told = ConcurrentHashMap.newKeySet[String]()
  private val count = new AtomicLong

  /** How many plans were left as they were, for the tests: a refused plan is a fault of a rule. */
  def refused: Long = count.get

  private[plan] def apply(plan: LogicalPlan)(rule: LogicalPlan => LogicalPlan): LogicalPlan =
    try {
      val made = rule(plan)
      val fault = if (made.fastEquals(plan)) None else faultOf(plan, made)
      fault.fold(made)(refuse(plan, _, null))
    } catch { case NonFatal(error) => refuse(plan, error.toString, error) }

  /** What is wrong with a plan that should do the same as another; None if nothing is. */
  private def faultOf(before: LogicalPlan, after: LogicalPlan): Option[String] =
    if (before.output.map(_.exprId) != after.output.map(_.exprId)) Some("the output is another")
    else LogicalPlanIntegrity.validateOptimizedPlan(before, after, lightweight = false)

  private def refuse(plan: LogicalPlan, fault: String, error: Throwable): LogicalPlan = {
    count.incrementAndGet()
    val kind = fault.replaceAll("#\\d+L?", "#").linesIterator.nextOption().getOrElse("").take(120)
    if (told.add(kind)) log.warn(
      s"A query runs without the rules that save predictions, as they would have made a plan that cannot run: $fault",
      error)
    else log.debug(fault, error)
    plan
  }
}
