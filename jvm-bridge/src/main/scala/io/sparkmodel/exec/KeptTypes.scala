// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import org.apache.spark.sql.types._

/** Types of which a copy in Arrow has every value of Spark's. */
object KeptTypes {
  def isExact(dataType: DataType): Boolean = dataType match {
    case BooleanType | ByteType | ShortType | IntegerType | LongType | FloatType | DoubleType => true
    case _: StringType | BinaryType | DateType | TimestampType | TimestampNTZType | _: DecimalType => true
    case ArrayType(element, _) => isExact(element)
    case MapType(key, value, _) => isExact(key) && isExact(value)
    case StructType(fields) => fields.forall(f => isExact(f.dataType)) && fields.map(_.name).distinct.length == fields.length
    case _ => false // such as intervals, which Arrow counts in nanoseconds
  }
}
