// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.call

import io.sparkmodel.wire.{Handle, Schemas}
import org.apache.spark.sql.catalyst.expressions.Expression
import org.apache.spark.sql.sparkmodel.{CatalystInternals, CoreInternals}

/**
 * A model as a function of a session.
 *
 * @param python the function as a session with Python has it; else one whose command only the bridge reads
 */
class ModelFunction(val name: String, val handle: Handle, python: AnyRef) extends (Seq[Expression] => Expression) {
  private lazy val result = CatalystInternals.sparkType(Schemas.read(handle.contract.result).getFields.get(0))

  override def apply(arguments: Seq[Expression]): Expression =
    CatalystInternals.call(name, python, result, Binding(Signatures.takes(handle), arguments) match {
      case Named(columns) => Seq(ArgumentRow.of(columns))
      case Positional(columns) => columns
    })

  /** The same under another name. */
  def named(other: String): ModelFunction = new ModelFunction(other, handle, python)
}

object ModelFunction {

  /** The function of a handle's text; it needs no Python. */
  def ofText(name: String, text: String, handle: Handle): ModelFunction =
    new ModelFunction(name, handle, CoreInternals.pythonFunction(ModelCall.command(text.trim)))
}
