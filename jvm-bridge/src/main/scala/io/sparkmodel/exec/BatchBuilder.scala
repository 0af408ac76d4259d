// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import scala.jdk.CollectionConverters._

import org.apache.arrow.memory.BufferAllocator
import org.apache.arrow.vector.{BaseFixedWidthVector, FieldVector, VectorSchemaRoot}
import org.apache.arrow.vector.types.pojo.Field
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.{Attribute, AttributeReference, Expression, MutableProjection}
import org.apache.spark.sql.execution.arrow.ArrowWriter
import org.apache.spark.sql.vectorized.ColumnarBatch

/** How the columns of a batch come about: settled once for a task, used for each of its batches. */
class BatchPlan(val expressions: Seq[Expression], val fields: Seq[Field], input: Seq[Attribute], partition: Int) {

  /** The input column that an expression is, -1 where it has to be computed. */
  private[exec] val ordinals: Array[Int] = expressions.map {
    case attribute: AttributeReference => input.indexWhere(_.exprId == attribute.exprId)
    case _ => -1
  }.toArray

  private[exec] def projection(columns: Seq[Int]): MutableProjection = {
    val made = MutableProjection.create(columns.map(expressions), input)
    made.initialize(partition)
    made
  }

  def newBuilder(allocator: BufferAllocator, isColumnar: Boolean): BatchBuilder =
    new BatchBuilder(this, allocator, isColumnar)

  /** Rows that a column is given room for at first: with many columns a batch has fewer of them. */
  private[exec] val capacity: Int =
    math.max(256L, math.min(BatchSize.Rows + BatchSize.Step, BatchSize.Bytes / (8L * expressions.size.max(1)))).toInt

  private[exec] var byRow: (Seq[Int], MutableProjection) = _
}

/** Collects rows into the Arrow vectors of one batch. */
class BatchBuilder(plan: BatchPlan, allocator: BufferAllocator, isColumnar: Boolean) {

  val vectors: IndexedSeq[FieldVector] = plan.fields.map(_.createVector(allocator)).toIndexedSeq

  /** Column, its place in the input, and what copies it. */
  private val blocks: Seq[(Int, Int, ColumnEncoder)] =
    if (!isColumnar) Nil
    else vectors.indices.flatMap { i =>
      val encoder =
        if (plan.ordinals(i) < 0) None else ColumnEncoder.forBlocks(plan.expressions(i).dataType, vectors(i))
      encoder.map((i, plan.ordinals(i), _))
    }
  private val single: Seq[Int] = vectors.indices.diff(blocks.map(_._1))
  private val writer: Option[(MutableProjection, ArrowWriter)] = try {
    blocks.foreach { case (i, _, _) => vectors(i).setInitialCapacity(plan.capacity); vectors(i).allocateNew() }
    Option.when(single.nonEmpty)((projection, ArrowWriter.create(VectorSchemaRoot.of(single.map(vectors): _*))))
  } catch { case error: Throwable => close(); throw error }
  private var count = 0

  private def projection: MutableProjection = {
    if (plan.byRow == null || plan.byRow._1 != single) plan.byRow = (single, plan.projection(single))
    plan.byRow._2
  }

  def rows: Int = count

  /** Whether all rows are of one size. */
  val isFixed: Boolean = vectors.forall(vector => vector.isInstanceOf[BaseFixedWidthVector])

  def sizeInBytes: Long = writer.fold(0L)(_._2.sizeInBytes()) + blocks.iterator.map(_._3.sizeInBytes).sum

  def append(row: InternalRow): Unit = {
    writer.foreach { case (project, target) => target.write(project(row)) }
    count += 1
  }

  def append(batch: ColumnarBatch, from: Int, rows: Int): Unit = {
    blocks.foreach { case (_, ordinal, encoder) => encoder.append(batch.column(ordinal), from, rows) }
    writer.foreach { case (project, target) =>
      var i = from
      while (i < from + rows) {
        target.write(project(batch.getRow(i)))
        i += 1
      }
    }
    count += rows
  }

  /** No more rows: the vectors are ready to be sent. */
  def finish(): Unit = {
    blocks.foreach(_._3.finish())
    writer.foreach(_._2.finish())
    vectors.foreach(v => if (v.getValueCount != count) v.setValueCount(count))
  }

  /** Some of its columns; the vectors stay its own. */
  def columns(places: Seq[Int]): VectorSchemaRoot =
    new VectorSchemaRoot(places.map(vectors(_).getField).asJava, places.map(vectors).asJava, count)

  def close(): Unit = vectors.foreach(_.close())
}
