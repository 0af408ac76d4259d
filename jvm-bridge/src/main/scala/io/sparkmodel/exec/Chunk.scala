// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import scala.collection.mutable.ArrayBuffer

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.vectorized.{ColumnarBatch, ColumnVector}

/** Some rows on their way through the pools of an operator: collected, sent, answered, closed. */
class Chunk(scorer: Scorer, maxRows: Int) {
  private val made = ArrayBuffer.empty[Share]
  private val shares: Seq[Share] =
    try {
      scorer.shares.foreach(plan => made += new Share(plan, scorer))
      made.toSeq
    } catch { case error: Throwable => made.foreach(_.builder.close()); throw error }
  private val parts: Seq[Part] = scorer.calls.indices.map(i => new Part(scorer, i, shares(scorer.shareOf(i))))
  // a row can be of any size, whatever those before it were
  private val step = if (shares.forall(_.builder.isFixed)) BatchSize.Step else BatchSize.VariedStep
  private var count = 0
  private var keptBytes = 0L
  val keptRows = new ArrayBuffer[InternalRow]

  def rows: Int = count

  /** Whether it has as many rows, or bytes, as should be sent at once. */
  def isFull: Boolean = count >= maxRows || sizeInBytes >= BatchSize.Bytes

  private def sizeInBytes: Long = keptBytes + shares.iterator.map(_.builder.sizeInBytes).sum

  /** Rows that can be added before it is worth a look whether it is full: to count its bytes costs more than a row. */
  def room: Int = {
    val size = sizeInBytes
    if (count > 0) scorer.rowBytes = math.max(1L, size / count)
    val rows = math.min(math.min((BatchSize.Bytes - size) / scorer.rowBytes, step), (maxRows - count).toLong)
    math.max(1L, rows).toInt
  }

  /** Whether the rows that it keeps alone are enough to look whether it is full. */
  def keepsMuch: Boolean = keptBytes >= BatchSize.Bytes

  /** Add a row of the input. */
  def append(row: InternalRow): Unit = {
    shares.foreach(_.append(row))
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
    shares.foreach(_.append(batch, from, rows))
    count += rows
  }

  /** Send what was collected; every call's part goes to its own pool. */
  def send(): Unit = {
    shares.foreach(_.builder.finish())
    parts.foreach(_.send())
  }

  /** Wait for the predictions of all calls. */
  def receive(): Seq[ColumnVector] = parts.map(_.receive(count))

  /** The columns of the input that are put out again. */
  def keptColumns: Seq[ColumnVector] = scorer.kept.map { case (share, place) =>
    scorer.wrap(shares(share).builder.vectors(place))
  }

  /** Give up what is under way, and release all memory. Twice does no harm. */
  def close(): Unit = {
    parts.foreach(_.close())
    shares.foreach(_.builder.close())
    keptRows.clear()
  }
}

/** How much is sent at once. */
object BatchSize {
  val Rows = 16384
  val Bytes: Long = 8L << 20
  val FirstRows = 256 // where a few rows may be all that is wanted; each chunk after it is twice as large
  val Message: Long = 64L << 20 // as the protocol recommends
  val Step = 4096L
  val VariedStep = 32L
  val UnknownRow: Long = 2L << 20 // what a row is taken for before one has been seen
}
