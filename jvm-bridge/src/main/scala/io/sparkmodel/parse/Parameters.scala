// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.parse

import org.apache.spark.sql.catalyst.expressions.Expression
import org.apache.spark.sql.catalyst.parser.{
  HybridParameterContext, NamedParameterContext, ParameterContext, PositionalParameterContext}
import org.apache.spark.sql.types.Decimal
import org.apache.spark.unsafe.types.UTF8String

/**
 * The values for `:name` and `?` in a statement about models.
 *
 * Spark puts values into the text, for which it parses it with its own grammar; so that cannot be had here.
 */
private[parse] final class Parameters(context: Option[ParameterContext]) {

  /** The value for `:name`, if there is one. */
  def named(name: String): Option[Any] = context.collect {
    case NamedParameterContext(values) => values.get(name).map(valueOf)
    case HybridParameterContext(values, names) =>
      names.zip(values).collectFirst { case (known, value) if known.equalsIgnoreCase(name) => valueOf(value) }
  }.flatten

  /** The value for the n-th `?`, from 0, if there is one. */
  def positional(n: Int): Option[Any] = context.collect {
    case PositionalParameterContext(values) => values.lift(n).map(valueOf)
    case HybridParameterContext(values, _) => values.lift(n).map(valueOf)
  }.flatten

  // Another type than those of options stays what it is, and is refused where it is used.
  private def valueOf(expression: Expression): Any =
    if (!expression.foldable) expression
    else expression.eval() match {
      case text: UTF8String => text.toString
      case number: Decimal => Double.box(number.toDouble)
      case number: Float => Double.box(number.toString.toDouble)
      case number: Byte => Long.box(number)
      case number: Short => Long.box(number)
      case number: Int => Long.box(number)
      case other => other
    }
}
