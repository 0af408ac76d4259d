// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.call

import io.sparkmodel.wire.Handle
import org.apache.spark.sql.catalyst.expressions.Expression
import org.apache.spark.sql.types._

/** Whether the arguments of a call have types that Python has too. */
object Sendable {
  def check(handle: Handle, arguments: Seq[Expression]): Unit =
    arguments.find(argument => hasMonths(argument.dataType)).foreach { argument =>
      throw ModelAnalysisException(
        "UNSUPPORTED_TYPE",
        s"Cannot call model '${handle.name}'",
        s"'${argument.sql}' is ${argument.dataType.sql}, and Arrow has no such type in Python",
        "pass EXTRACT(YEAR FROM x) and EXTRACT(MONTH FROM x)")
    }

  private def hasMonths(dataType: DataType): Boolean = dataType match {
    case _: YearMonthIntervalType => true
    case ArrayType(element, _) => hasMonths(element)
    case MapType(key, value, _) => hasMonths(key) || hasMonths(value)
    case struct: StructType => struct.fields.exists(field => hasMonths(field.dataType))
    case _ => false
  }
}
