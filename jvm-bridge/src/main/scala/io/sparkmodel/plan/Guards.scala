// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.plan

import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.catalyst.expressions.aggregate.AggregateExpression

/** When a part of an expression matters to the value of the whole. */
object Guards extends PredicateHelper {

  /** The children of an expression, each with what must all be true, in this order, for its value to matter. */
  def ofChildren(expression: Expression): Seq[(Expression, Seq[Expression])] = expression match {
    case If(condition, yes, no) =>
      Seq(condition -> Nil, yes -> isTrue(condition), no -> isNotTrue(condition))
    case CaseWhen(branches, otherwise) =>
      val earlier = branches.map(_._1).inits.toSeq.reverse.map(_.flatMap(isNotTrue))
      branches.zip(earlier).flatMap { case ((condition, value), before) =>
        Seq(condition -> before, value -> (before ++ isTrue(condition)))
      } ++ otherwise.map(_ -> earlier.last)
    case Coalesce(children) =>
      children.zip(children.inits.toSeq.reverse.map(_.map(IsNull(_))))
    case and: And => ofOperands(splitConjunctivePredicates(and), isNotFalse)
    case or: Or => ofOperands(splitDisjunctivePredicates(or), isNotTrue)
    case aggregate: AggregateExpression =>
      (aggregate.aggregateFunction -> aggregate.filter.toSeq.flatMap(isTrue)) +: aggregate.filter.map(_ -> Nil).toSeq
    case other => other.children.map(_ -> Nil)
  }

  /** The guard as one expression; None if every row is wanted. */
  def all(guard: Seq[Expression]): Option[Expression] = guard.reduceOption(And(_, _))

  /** What is true where any of the guards is; None if one of them wants every row. */
  def any(guards: Seq[Seq[Expression]]): Option[Expression] =
    if (guards.exists(_.isEmpty)) None
    else guards.flatMap(all).reduceOption((one, other) => if (one.semanticEquals(other)) one else Or(one, other))

  /**
   * An operand matters only if no other settles the whole. Spark looks at them from left to right; those to the right
   * can be looked at first where that can do no harm.
   */
  private def ofOperands(operands: Seq[Expression], isOpen: Expression => Seq[Expression]) =
    operands.zipWithIndex.map { case (operand, i) =>
      val later = operands.drop(i + 1).filter(Calls.isHarmless)
      operand -> (later ++ operands.take(i)).flatMap(isOpen)
    }

  // in as many parts as there are, so that one which cannot be used does not cost the others; NULL is neither
  private def isTrue(condition: Expression): Seq[Expression] = splitConjunctivePredicates(condition)
  private def isNotTrue(condition: Expression): Seq[Expression] =
    splitDisjunctivePredicates(condition).map(part => Not(EqualNullSafe(part, Literal.TrueLiteral)))
  private def isNotFalse(condition: Expression): Seq[Expression] =
    splitConjunctivePredicates(condition).map(part => Not(EqualNullSafe(part, Literal.FalseLiteral)))
}
