// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.plan

import com.google.common.collect.MapMaker
import io.sparkmodel.wire.Handle
import org.apache.spark.sql.catalyst.expressions.{Expression, PythonUDF, UnaryExpression}
import org.apache.spark.sql.catalyst.expressions.codegen.{CodegenContext, ExprCode}
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.types.{BooleanType, DataType}

/** A call of a model in a plan: a Python function whose pickled command carries the handle of a pool. */
object ModelCall {

  private val handles = new MapMaker().weakKeys().makeMap[AnyRef, Option[Handle]]()

  def unapply(expression: Expression): Option[PythonUDF] = expression match {
    case call: PythonUDF if handleOf(call).isDefined => Some(call)
    case _ => None
  }

  /** The handle that a function carries, None if it is not one of ours. */
  def handleOf(call: PythonUDF): Option[Handle] =
    handles.computeIfAbsent(call.func, _ => Handle.find(call.func.command.toArray))
}

/**
 * The last argument of a call whose result is wanted for some rows only: true for those.
 *
 * Rows for which it is not true are not sent to the pool, and have NULL for a prediction.
 */
case class ScoreIf(child: Expression) extends UnaryExpression {
  override def dataType: DataType = BooleanType
  override def nullable: Boolean = child.nullable
  override def eval(input: InternalRow): Any = child.eval(input)
  override protected def doGenCode(ctx: CodegenContext, ev: ExprCode): ExprCode = child.genCode(ctx)
  override protected def withNewChildInternal(newChild: Expression): ScoreIf = copy(child = newChild)
}
