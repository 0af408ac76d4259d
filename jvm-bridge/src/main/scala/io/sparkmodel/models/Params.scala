// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.models

import java.time.{Instant, LocalDate, LocalDateTime, ZoneId, ZoneOffset}
import java.time.format.DateTimeFormatter
import java.time.temporal.ChronoUnit
import java.util.Base64

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.util.{ArrayData, MapData}
import org.apache.spark.sql.internal.SQLConf
import org.apache.spark.sql.types._
import org.apache.spark.unsafe.types.UTF8String

/**
 * The values of SQL's constants as Python's `params` reads them; what JSON has no form for says its type.
 *
 * An instant is written with the offset of the session's zone: a model that wants a clock on the wall sees that one.
 */
private[models] object Params {
  private val clock = DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSSSSS")
  private val withOffset = DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSSSSSxxx")

  def plain(value: Any, dataType: DataType): Any = (value, dataType) match {
    case (null, _) => null
    case (text: UTF8String, _) => text.toString
    case (decimal: Decimal, _) => number(decimal.toJavaBigDecimal)
    case (days: Int, DateType) => typed("date", LocalDate.ofEpochDay(days).toString)
    case (micros: Long, TimestampType) => typed("datetime", instant(micros).atZone(zone).format(withOffset))
    case (micros: Long, TimestampNTZType) =>
      typed("datetime", LocalDateTime.ofInstant(instant(micros), ZoneOffset.UTC).format(clock))
    case (micros: Long, _: DayTimeIntervalType) => typed("duration", micros)
    case (bytes: Array[Byte], _) => typed("bytes", Base64.getEncoder.encodeToString(bytes))
    case (array: ArrayData, ArrayType(element, _)) => array.toSeq[Any](element).map(plain(_, element))
    case (map: MapData, MapType(StringType, item, _)) =>
      map.keyArray().toSeq[Any](StringType).map(_.toString).zip(map.valueArray().toSeq[Any](item).map(plain(_, item))).toMap
    case (row: InternalRow, struct: StructType) =>
      struct.fields.zipWithIndex.map { case (field, i) => field.name -> plain(row.get(i, field.dataType), field.dataType) }.toMap
    case (_: Boolean | _: Byte | _: Short | _: Int | _: Long | _: Float | _: Double, BooleanType | _: NumericType) => value
    case _ => throw MlPredict.invalid("params", s"a ${dataType.sql} cannot be a param", "cast it, to STRING for instance")
  }

  // SQL writes doubles as decimals
  private def number(decimal: java.math.BigDecimal): Any = {
    val double = decimal.doubleValue
    if (java.math.BigDecimal.valueOf(double).compareTo(decimal) == 0) double else typed("decimal", decimal.toPlainString)
  }

  private def instant(micros: Long): Instant = Instant.EPOCH.plus(micros, ChronoUnit.MICROS)

  private def zone: ZoneId = ZoneId.of(SQLConf.get.sessionLocalTimeZone, ZoneId.SHORT_IDS)

  private def typed(name: String, value: Any): Map[String, Any] = Map("$type" -> name, "value" -> value)
}
