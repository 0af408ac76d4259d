// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.plan

import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.catalyst.plans._
import org.apache.spark.sql.catalyst.plans.logical._
import org.apache.spark.sql.types._

/**
 * Takes back what Spark concludes from `a.x = b.x AND f(a.x) > 5`: that `f(b.x) > 5`. The filter is free for it, but
 * here it scores the other side of the join as well, and what is left after the join is the same without it.
 */
private object InferredFilters extends PredicateHelper {

  def drop(plan: LogicalPlan): LogicalPlan = {
    lazy val calls = plan.collect { case operator => operator.expressions.flatMap(Calls.in) }.flatten.map(Calls.keyOf)
    plan.transformUp {
      case join @ Join(left, right, joinType, Some(condition), _) if hasCalls(left) && hasCalls(right) =>
        val pairs = splitConjunctivePredicates(condition).collect {
          case EqualTo(a: AttributeReference, b: AttributeReference) if isExact(a.dataType) => Seq(a -> b, b -> a)
        }.flatten
        val twins = for {
          one <- conditions(left) if Calls.contains(one)
          other <- conditions(right) if Calls.contains(other) && isTwin(one, other, pairs)
        } yield (one, other)
        def uses(condition: Expression) = Calls.in(condition).map(Calls.keyOf).map(key => calls.count(_ == key)).sum
        // the side that the rest of the query asks for is the one to score
        val (keepRight, keepLeft) = joinType match {
          case _: InnerLike | LeftSemi => twins.partition { case (one, other) => uses(other) > uses(one) }
          case LeftOuter | LeftAnti => (Nil, twins)
          case RightOuter => (twins, Nil)
          case _ => (Nil, Nil)
        }
        join.copy(left = without(left, keepRight.map(_._1)), right = without(right, keepLeft.map(_._2)))
    }
  }

  private def hasCalls(side: LogicalPlan) = conditions(side).exists(Calls.contains)

  /** What is true of all rows of a side, by the filter on its top. */
  private def conditions(side: LogicalPlan): Seq[Expression] = side match {
    case Filter(condition, _) => splitConjunctivePredicates(condition).filter(_.deterministic)
    case Project(list, filter: Filter) if list.forall(_.isInstanceOf[Attribute]) =>
      conditions(filter).filter(_.references.subsetOf(side.outputSet))
    case _ => Nil
  }

  private def without(side: LogicalPlan, dropped: Seq[Expression]): LogicalPlan = side match {
    case _ if dropped.isEmpty => side
    case project: Project => project.copy(child = without(project.child, dropped))
    case Filter(condition, child) =>
      val kept = splitConjunctivePredicates(condition).filterNot(one => dropped.exists(_ eq one))
      kept.reduceOption(And(_, _)).fold(child)(Filter(_, child))
    case other => other
  }

  private def isTwin(one: Expression, other: Expression, pairs: Seq[(Attribute, Attribute)]): Boolean = {
    val equal = pairs.map { case (from, to) => from.exprId -> to }.toMap
    one.references.forall(a => equal.contains(a.exprId)) &&
    one.transform { case a: AttributeReference => equal(a.exprId) }.semanticEquals(other)
  }

  // equal values of other types may be different bytes, such as 0.0 and -0.0, and a model may see it
  private def isExact(dataType: DataType): Boolean = dataType match {
    case ByteType | ShortType | IntegerType | LongType | BooleanType | DateType => true
    case TimestampType | TimestampNTZType | StringType | BinaryType => true
    case _ => false
  }
}
