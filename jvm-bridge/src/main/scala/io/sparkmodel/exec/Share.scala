// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import scala.collection.mutable
import scala.collection.mutable.{ArrayBuffer, ArrayBuilder}

import org.apache.arrow.vector.types.pojo.Field
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.{Attribute, Expression, Predicate}
import org.apache.spark.sql.vectorized.{ColumnarBatch, ColumnVector}

/** The rows of a chunk that calls with one guard take. */
class Share(plan: SharePlan, scorer: Scorer) {
  val builder: BatchBuilder = plan.batch.newBuilder(scorer.allocator, scorer.isColumnar)
  private val places = if (plan.predicate.isDefined) new ArrayBuilder.ofInt else null
  private lazy val settled = places.result()

  def append(row: InternalRow): Unit =
    if (plan.predicate.forall(_.eval(row))) {
      if (places != null) places += builder.rows
      builder.append(row)
    } else places += -1

  def append(batch: ColumnarBatch, from: Int, rows: Int): Unit = plan.predicate match {
    case None => builder.append(batch, from, rows)
    case Some(predicate) =>
      var i = from
      val end = from + rows
      while (i < end) {
        val start = i
        while (i < end && predicate.eval(batch.getRow(i))) i += 1
        (0 until (i - start)).foreach(k => places += builder.rows + k)
        builder.append(batch, start, i - start)
        if (i < end) {
          places += -1
          i += 1
        }
      }
  }

  /** Predictions of these rows as a column of all rows of the chunk. */
  def spread(values: ColumnVector): ColumnVector = if (places == null) values else new SparseColumn(values, settled)
}

/**
 * The columns that go to pools, or are kept, for the same rows: each once, however many calls take it.
 *
 * @param guard which rows; None for all
 */
class SharePlan(guard: Option[Expression], input: Seq[Attribute], partition: Int) {
  private val columns = ArrayBuffer.empty[(Expression, Field)]
  private val places = mutable.Map.empty[Any, Int]

  /** The place of a column, which is a new one if there is none like it. */
  def add(expression: Expression, field: Field): Int = {
    def made() = { columns += expression -> field; columns.size - 1 }
    // what is not deterministic is another value each time
    if (!expression.deterministic) made()
    else places.getOrElseUpdate((expression.canonicalized, field.getFieldType, field.getChildren), made())
  }

  /** How to make its columns; no more can be added then. */
  lazy val batch: BatchPlan = new BatchPlan(columns.map(_._1).toSeq, columns.map(_._2).toSeq, input, partition)

  val predicate = guard.map { condition =>
    val made = Predicate.create(condition, input)
    made.initialize(partition)
    made
  }
}
