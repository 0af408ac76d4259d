// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import org.apache.spark.sql.types.Decimal
import org.apache.spark.sql.vectorized.{ColumnarArray, ColumnarMap, ColumnVector}
import org.apache.spark.unsafe.types.UTF8String

/**
 * The predictions of some of a batch's rows as a column of all of them: NULL for those that were not sent.
 *
 * @param places for each row the place of its prediction, -1 for none
 */
class SparseColumn(values: ColumnVector, places: Array[Int]) extends ColumnVector(values.dataType) {
  override def close(): Unit = values.close()
  override def closeIfFreeable(): Unit = values.closeIfFreeable()
  override def hasNull: Boolean = numNulls > 0
  override lazy val numNulls: Int = places.indices.count(isNullAt)
  override def isNullAt(row: Int): Boolean = places(row) < 0 || values.isNullAt(places(row))
  override def getBoolean(row: Int): Boolean = values.getBoolean(places(row))
  override def getByte(row: Int): Byte = values.getByte(places(row))
  override def getShort(row: Int): Short = values.getShort(places(row))
  override def getInt(row: Int): Int = values.getInt(places(row))
  override def getLong(row: Int): Long = values.getLong(places(row))
  override def getFloat(row: Int): Float = values.getFloat(places(row))
  override def getDouble(row: Int): Double = values.getDouble(places(row))
  override def getArray(row: Int): ColumnarArray = if (isNullAt(row)) null else values.getArray(places(row))
  override def getMap(row: Int): ColumnarMap = if (isNullAt(row)) null else values.getMap(places(row))
  override def getDecimal(row: Int, precision: Int, scale: Int): Decimal =
    if (isNullAt(row)) null else values.getDecimal(places(row), precision, scale)
  override def getUTF8String(row: Int): UTF8String = if (isNullAt(row)) null else values.getUTF8String(places(row))
  override def getBinary(row: Int): Array[Byte] = if (isNullAt(row)) null else values.getBinary(places(row))
  override def getChild(ordinal: Int): ColumnVector = new SparseColumn(values.getChild(ordinal), places)
}
