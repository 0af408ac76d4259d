// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import scala.collection.mutable.ArrayBuffer

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.vectorized.{ColumnarBatch, ColumnVector}

/** Some rows on their way through the pools of an operator: collected, sent, answered, closed. */
class Chunk(scorer: Scorer) {
  private val made = ArrayBuffer.empty[Part]
  private val kept: Option[BatchBuilder] =
    try {
      scorer.calls.indices.foreach(i => made += new Part(scorer, i))
      scorer.kept.map(_.newBuilder(scorer.allocator, true))
    } catch { case error: Throwable => made.foreach(_.close()); throw error }
  private val parts: Seq[Part] = made.toSeq
  private var count = 0
  private var keptBytes = 0L
  val keptRows = new ArrayBuffer[InternalRow]

  def rows: Int = count

  /** Whether it has as many rows, or bytes, as should be sent at once. */
  def isFull: Boolean = count >= BatchSize.Rows || sizeInBytes >= BatchSize.Bytes

  private def sizeInBytes: Long =
    keptBytes + parts.iterator.map(_.builder.sizeInBytes).sum + kept.fold(0L)(_.sizeInBytes)

  /** Rows that can be added before it is worth a look whether it is full: to count its bytes costs more than a row. */
  def room: Int = {
    val size = sizeInBytes
    if (count > 0) scorer.rowBytes = math.max(1L, size / count)
    math.max(1L, math.min((BatchSize.Bytes - size) / scorer.rowBytes, BatchSize.Step)).toInt
  }

  /** Add a row of the input. */
  def append(row: InternalRow): Unit = {
    parts.foreach(_.append(row))
    count += 1
  }

  /** Keep a row as it will be put out again. */
  def keep(row: InternalRow, bytes: Int): Unit = {
    keptRows += row
    keptBytes += bytes
  }

  /** Add rows of a columnar input, until full; returns how many were taken. */
  def append(batch: ColumnarBatch, from: Int): Int = {
    val left = batch.numRows - from
    var taken = 0
    while (taken < left && !isFull) {
      val rows = math.min(room, left - taken)
      take(batch, from + taken, rows)
      taken += rows
    }
    taken
  }

  private def take(batch: ColumnarBatch, from: Int, rows: Int): Unit = {
    parts.foreach(_.append(batch, from, rows))
    kept.foreach(_.append(batch, from, rows))
    count += rows
  }

  /** Send what was collected; every call's part goes to its own pool. */
  def send(): Unit = {
    parts.foreach(_.send())
    kept.foreach(_.finish())
  }

  /** Wait for the predictions of all calls. */
  def receive(): Seq[ColumnVector] = parts.map(_.receive(count))

  /** A column of the input that is put out again. */
  def keptColumn(place: KeptPlace): ColumnVector = place match {
    case KeptAlone(i) => scorer.wrap(kept.get.vectors(i))
    case KeptInCall(call, i) => scorer.wrap(parts(call).builder.vectors(i))
  }

  /** Give up what is under way, and release all memory. Twice does no harm. */
  def close(): Unit = {
    parts.foreach(_.close())
    kept.foreach(_.close())
    keptRows.clear()
  }
}

/** Where a batch's copy of a column that is put out again is to be found. */
sealed trait KeptPlace
case class KeptAlone(column: Int) extends KeptPlace
case class KeptInCall(call: Int, column: Int) extends KeptPlace

/** How much is sent at once. */
object BatchSize {
  val Rows = 16384
  val Bytes: Long = 8L << 20
  val Step = 4096L
  val UnknownRow: Long = 2L << 20 // what a row is taken for before one has been seen
}
