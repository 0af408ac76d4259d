// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.call

import java.nio.charset.StandardCharsets.ISO_8859_1

import com.google.common.collect.MapMaker
import io.sparkmodel.wire.Handle
import org.apache.spark.sql.catalyst.expressions.{Expression, PythonUDF, UnaryExpression}
import org.apache.spark.sql.catalyst.expressions.codegen.{CodegenContext, ExprCode}
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.types.{BooleanType, DataType}

/**
 * A call of a model in a plan: a Python function whose pickled command begins with our mark and the handle of a pool.
 *
 * Somebody else's function that has a model's handle, or function, in its closure has it further behind.
 */
object ModelCall {
  private val CallMarker = "sparkmodel.call.v1"
  private val mark = CallMarker + Handle.Marker
  private val MarkedWithin = 256

  private val handles = new MapMaker().weakKeys().makeMap[AnyRef, Option[Handle]]()

  def unapply(expression: Expression): Option[PythonUDF] = expression match {
    case call: PythonUDF if handleOf(call).isDefined => Some(call)
    case _ => None
  }

  /** The handle that a function carries, None if it is not one of ours. */
  def handleOf(call: PythonUDF): Option[Handle] =
    handles.computeIfAbsent(call.func, _ => read(call.func.command.toArray))

  /** The command of a function that no Python has pickled, of the text of its pool's handle. */
  def command(handle: String): Array[Byte] = (CallMarker + handle).getBytes(ISO_8859_1)

  private def read(command: Array[Byte]): Option[Handle] =
    if (new String(command.take(MarkedWithin + mark.length), ISO_8859_1).contains(mark)) Handle.find(command) else None
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
