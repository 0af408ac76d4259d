// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.{Attribute, JoinedRow, UnsafeProjection}
import org.apache.spark.sql.vectorized.ColumnarBatch

/** Columns in, columns out. */
class ColumnarScoring(scorer: Scorer, input: Iterator[ColumnarBatch]) extends Iterator[ColumnarBatch] {
  private var batch: ColumnarBatch = _
  private var taken = 0
  private var ready: Option[ColumnarBatch] = None

  override def hasNext: Boolean = {
    if (ready.isEmpty) ready = scorer.next(collect).map { case (chunk, predictions) =>
      new ColumnarBatch((chunk.keptColumns ++ predictions).toArray, chunk.rows)
    }
    ready.isDefined
  }

  override def next(): ColumnarBatch = {
    if (!hasNext) throw new NoSuchElementException
    val batch = ready.get
    ready = None
    batch
  }

  private def collect(chunk: Chunk): Boolean = {
    while (!chunk.isFull && advance())
      taken += scorer.metrics.timed(scorer.metrics.encodeTime)(chunk.append(batch, taken))
    chunk.rows > 0
  }

  /** Whether there are rows left; the source may use a batch's memory again as soon as it is asked for the next. */
  private def advance(): Boolean = {
    while (batch == null || taken == batch.numRows) {
      if (batch != null) batch.closeIfFreeable()
      batch = null
      if (!input.hasNext) return false
      batch = input.next()
      taken = 0
    }
    true
  }
}

/** Rows in, rows out. */
class RowScoring(
    scorer: Scorer,
    input: Iterator[InternalRow],
    attributes: Seq[Attribute],
    keep: Seq[Attribute],
    output: Seq[Attribute],
    partition: Int)
  extends Iterator[InternalRow] {

  private val kept = UnsafeProjection.create(keep, attributes)
  private val joined = UnsafeProjection.create(output, output)
  private val pair = new JoinedRow
  private var chunk: Chunk = _
  private var predictions: ColumnarBatch = _
  private var at = 0
  kept.initialize(partition)

  override def hasNext: Boolean = (chunk != null && at < chunk.rows) || advance()

  override def next(): InternalRow = {
    if (!hasNext) throw new NoSuchElementException
    at += 1
    joined(pair(chunk.keptRows(at - 1), predictions.getRow(at - 1)))
  }

  private def advance(): Boolean = {
    chunk = null
    scorer.next(collect).foreach { case (answered, columns) =>
      chunk = answered
      predictions = new ColumnarBatch(columns.toArray, answered.rows)
      at = 0
    }
    chunk != null
  }

  private def collect(chunk: Chunk): Boolean = {
    var look = chunk.room
    var isFull = false
    while (!isFull && input.hasNext) {
      val row = input.next()
      chunk.append(row)
      val copy = kept(row).copy()
      chunk.keep(copy, copy.getSizeInBytes)
      if (chunk.rows >= look || chunk.keepsMuch) {
        isFull = chunk.isFull
        look = chunk.rows + chunk.room
      }
    }
    chunk.rows > 0
  }
}
