// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.plan

import io.sparkmodel.call.{ArgumentRow, ModelCall, ScoreIf, Signatures}
import io.sparkmodel.wire.CallOptions
import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.catalyst.expressions.aggregate.AggregateExpression
import org.apache.spark.sql.catalyst.plans.logical.ArrowEvalPython
import org.apache.spark.sql.catalyst.trees.TreePattern.PYTHON_UDF
import org.apache.spark.sql.sparkmodel.CoreInternals
import org.apache.spark.sql.types.DataType

/** What two calls must have in common to be one; the pickled bytes of their functions may differ. */
case class CallKey(pool: String, options: CallOptions, result: DataType, arguments: Seq[Expression])

/** A call in an expression, and what must all be true of a row, outermost first, for its result to matter. */
case class Occurrence(call: PythonUDF, guard: Seq[Expression])

/** What the rules ask of calls and of expressions with calls in them. */
object Calls {

  /** A call that can be taken out of its expression: its arguments are plain values of the row. */
  object Movable {
    def unapply(expression: Expression): Option[PythonUDF] = expression match {
      case ModelCall(call)
          if call.evalType == CoreInternals.ModelEvalType && call.deterministic &&
            !isGuarded(call) && call.children.forall(isPlain) => Some(call)
      case _ => None
    }
  }

  /** Whether an operator makes calls of models only. */
  def isOurs(node: ArrowEvalPython): Boolean = node.udfs.forall(ModelCall.handleOf(_).isDefined)

  def keyOf(call: PythonUDF): CallKey = {
    val handle = ModelCall.handleOf(call).get
    val options = handle.call.copy(names = Nil, byName = false)
    CallKey(handle.pool.poolId, options, call.dataType, argumentsOf(call).map(_.canonicalized))
  }

  /** The arguments in one form, whether Python has put their names beside them or SQL into a row. */
  def argumentsOf(call: PythonUDF): Seq[Expression] = {
    val names = ModelCall.handleOf(call).get.call.names
    val (arguments, guard) = call.children.span(!_.isInstanceOf[ScoreIf])
    val isRow = names.size == arguments.size &&
      (names.size > 1 || names.size == 1 && !Signatures.isRowOfNumbers(arguments.head.dataType))
    if (isRow) ArgumentRow.of(names.zip(arguments)) +: guard else call.children
  }

  def isGuarded(call: PythonUDF): Boolean = call.children.lastOption.exists(_.isInstanceOf[ScoreIf])

  /** Whether an operator can compute it for each row of its child, calls of ours aside. */
  def isPlain(expression: Expression): Boolean = !expression.exists {
    case Movable(_) => false
    case _: PythonUDF | _: AggregateExpression | _: WindowExpression | _: Generator | _: NamedLambdaVariable |
        _: SubqueryExpression | _: OuterReference => true
    case _ => false
  }

  /** Whether computing it for one row more can do no harm: it neither fails nor costs much. */
  def isHarmless(expression: Expression): Boolean = !expression.exists {
    case _: AttributeReference | _: Literal | _: BinaryComparison | _: And | _: Or | _: Not | _: IsNull |
        _: IsNotNull | _: In | _: InSet => false
    case _ => true
  }

  /** All calls that can be moved, those in arguments of others included. */
  def in(expression: Expression): Seq[PythonUDF] = walk(expression, Nil, guarded = false).map(_.call)

  def contains(expression: Expression): Boolean =
    expression.containsPattern(PYTHON_UDF) && in(expression).nonEmpty

  /** All calls that can be moved, each with its guard. */
  def guarded(expression: Expression): Seq[Occurrence] = walk(expression, Nil, guarded = true)

  /** Puts attributes in the place of calls. */
  def replace(expression: Expression, values: Map[CallKey, Attribute]): Expression =
    if (values.isEmpty || !expression.containsPattern(PYTHON_UDF)) expression
    else expression match {
      case Movable(call) if values.contains(keyOf(call)) => values(keyOf(call))
      case outside if isOutside(outside) => outside
      case other => other.mapChildren(replace(_, values))
    }

  private def walk(expression: Expression, path: Seq[Expression], guarded: Boolean): Seq[Occurrence] =
    if (!expression.containsPattern(PYTHON_UDF)) Nil
    else expression match {
      case Movable(call) => Occurrence(call, path) +: call.children.flatMap(walk(_, path, guarded))
      case outside if isOutside(outside) => Nil
      case other if guarded =>
        Guards.ofChildren(other).flatMap { case (child, more) => walk(child, path ++ more, guarded) }
      case other => other.children.flatMap(walk(_, path, guarded))
    }

  // what is computed elsewhere, or for elements of an array
  private def isOutside(expression: Expression): Boolean = expression match {
    case _: InSubquery => false
    case _: SubqueryExpression | _: LambdaFunction => true
    case _ => false
  }
}
