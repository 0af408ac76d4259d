// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import org.apache.arrow.vector.{BaseFixedWidthVector, FieldVector}
import org.apache.arrow.vector.complex.ListVector
import org.apache.spark.sql.execution.vectorized.{OffHeapColumnVector, WritableColumnVector}
import org.apache.spark.sql.types._
import org.apache.spark.sql.vectorized.{ArrowColumnVector, ColumnVector, ColumnarArray}
import org.apache.spark.unsafe.Platform

/** Appends ranges of rows of a column to an Arrow vector. */
trait ColumnEncoder {
  def append(column: ColumnVector, from: Int, count: Int): Unit

  /** Bytes of the values so far; Arrow's own count knows of none before the end. */
  def sizeInBytes: Long

  /** Set the number of values; the vector is ready to be sent. */
  def finish(): Unit
}

object ColumnEncoder {

  /** What copies blocks of such a column, None where values go one by one. */
  def forBlocks(dataType: DataType, vector: FieldVector): Option[ColumnEncoder] = (dataType, vector) match {
    case (ArrayType(element, _), list: ListVector) =>
      forBlocks(element, list.getDataVector).collect { case values: FixedWidthEncoder => new ListEncoder(list, values) }
    case (_, fixed: BaseFixedWidthVector) => widthOf(dataType).map(new FixedWidthEncoder(fixed, dataType, _))
    case _ => None
  }

  /** Bytes of one value where Spark and Arrow have the same layout. */
  private def widthOf(dataType: DataType): Option[Int] = dataType match {
    case ByteType => Some(1)
    case ShortType => Some(2)
    case IntegerType | FloatType | DateType => Some(4)
    case LongType | DoubleType | TimestampType | TimestampNTZType => Some(8)
    case _ => None
  }
}

/** Numbers, dates and timestamps, whose values are as wide in Spark as in Arrow. */
class FixedWidthEncoder(vector: BaseFixedWidthVector, dataType: DataType, width: Int) extends ColumnEncoder {
  private var count = 0

  def append(column: ColumnVector, from: Int, rows: Int): Unit = if (rows > 0) {
    while (vector.getValueCapacity < count + rows) vector.reAlloc()
    copy(column, from, rows, vector.getDataBufferAddress + count.toLong * width)
    if (column.hasNull) markEach(new ColumnarArray(column, from, rows)) else mark(rows)
    count += rows
  }

  /** Append the elements of an array; returns their number. */
  def append(array: ColumnarArray): Int = {
    val rows = array.numElements
    while (vector.getValueCapacity < count + rows) vector.reAlloc()
    copyEach(array, vector.getDataBufferAddress + count.toLong * width)
    markEach(array)
    count += rows
    rows
  }

  def sizeInBytes: Long = count.toLong * width + count / 8

  def finish(): Unit = vector.setValueCount(count)

  def size: Int = count

  private def copy(column: ColumnVector, from: Int, rows: Int, target: Long): Unit = column match {
    case absent: WritableColumnVector if absent.isAllNull => () // it has no values, and may have no memory
    case direct: OffHeapColumnVector if !direct.hasDictionary =>
      Platform.copyMemory(null, direct.valuesNativeAddress + from.toLong * width, null, target, rows.toLong * width)
    case writable: WritableColumnVector if !writable.hasDictionary => copyArray(column, from, rows, target)
    case arrow: ArrowColumnVector if arrow.getValueVector.getClass == vector.getClass =>
      val values = arrow.getValueVector.asInstanceOf[BaseFixedWidthVector].getDataBufferAddress
      Platform.copyMemory(null, values + from.toLong * width, null, target, rows.toLong * width)
    case _ => copyEach(new ColumnarArray(column, from, rows), target)
  }

  private def copyArray(column: ColumnVector, from: Int, rows: Int, target: Long): Unit = {
    val bytes = rows.toLong * width
    dataType match {
      case ByteType => Platform.copyMemory(column.getBytes(from, rows), Platform.BYTE_ARRAY_OFFSET, null, target, bytes)
      case ShortType =>
        Platform.copyMemory(column.getShorts(from, rows), Platform.SHORT_ARRAY_OFFSET, null, target, bytes)
      case IntegerType | DateType =>
        Platform.copyMemory(column.getInts(from, rows), Platform.INT_ARRAY_OFFSET, null, target, bytes)
      case FloatType =>
        Platform.copyMemory(column.getFloats(from, rows), Platform.FLOAT_ARRAY_OFFSET, null, target, bytes)
      case DoubleType =>
        Platform.copyMemory(column.getDoubles(from, rows), Platform.DOUBLE_ARRAY_OFFSET, null, target, bytes)
      case _ => Platform.copyMemory(column.getLongs(from, rows), Platform.LONG_ARRAY_OFFSET, null, target, bytes)
    }
  }

  /** Of a dictionary, whose codes the block readers would give, and of columns that have no value where NULL is. */
  private def copyEach(values: ColumnarArray, target: Long): Unit = {
    var i = 0
    while (i < values.numElements) {
      val at = target + i.toLong * width
      if (!values.isNullAt(i)) dataType match {
        case ByteType => Platform.putByte(null, at, values.getByte(i))
        case ShortType => Platform.putShort(null, at, values.getShort(i))
        case IntegerType | DateType => Platform.putInt(null, at, values.getInt(i))
        case FloatType => Platform.putFloat(null, at, values.getFloat(i))
        case DoubleType => Platform.putDouble(null, at, values.getDouble(i))
        case _ => Platform.putLong(null, at, values.getLong(i))
      }
      i += 1
    }
  }

  /** Mark the next rows as not NULL. */
  private def mark(rows: Int): Unit = {
    val bits = vector.getValidityBufferAddress
    var i = count
    val end = count + rows
    while (i < end && (i & 7) != 0) { set(bits, i); i += 1 }
    val whole = (end - i) >> 3
    if (whole > 0) Platform.setMemory(bits + (i >> 3), 0xff.toByte, whole)
    i += whole << 3
    while (i < end) { set(bits, i); i += 1 }
  }

  private def markEach(values: ColumnarArray): Unit = {
    val bits = vector.getValidityBufferAddress
    var i = 0
    while (i < values.numElements) {
      if (!values.isNullAt(i)) set(bits, count + i)
      i += 1
    }
  }

  private def set(bits: Long, i: Int): Unit =
    Platform.putByte(null, bits + (i >> 3), (Platform.getByte(null, bits + (i >> 3)) | (1 << (i & 7))).toByte)
}

/** Arrays of such values: each row's values are one block of the column's child. */
class ListEncoder(vector: ListVector, values: FixedWidthEncoder) extends ColumnEncoder {
  private var count = 0

  def append(column: ColumnVector, from: Int, rows: Int): Unit = {
    var i = from
    while (i < from + rows) {
      if (column.isNullAt(i)) vector.setNull(count)
      else {
        vector.startNewValue(count)
        vector.endValue(count, appendValues(column, i))
      }
      count += 1
      i += 1
    }
  }

  private def appendValues(column: ColumnVector, row: Int): Int = column match {
    case block: WritableColumnVector =>
      val length = block.getArrayLength(row)
      values.append(block.getChild(0), block.getArrayOffset(row), length)
      length
    case other => values.append(other.getArray(row))
  }

  def sizeInBytes: Long = count * 4L + values.sizeInBytes

  def finish(): Unit = {
    val length = values.size
    vector.setValueCount(count)
    vector.getDataVector.setValueCount(length)
  }
}
