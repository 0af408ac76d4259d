// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import scala.collection.mutable.ArrayBuilder

import io.sparkmodel.wire.{ModelException, PoolClient, Ticket}
import org.apache.arrow.memory.ArrowBuf
import org.apache.arrow.vector.FieldVector
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.BasePredicate
import org.apache.spark.sql.execution.vectorized.ConstantColumnVector
import org.apache.spark.sql.sparkmodel.CatalystInternals
import org.apache.spark.sql.vectorized.{ColumnarBatch, ColumnVector}

/** One call's share of a chunk: its arguments, and then its predictions. */
class Part(scorer: Scorer, index: Int) {
  private val call: ScoreCall = scorer.calls(index)
  private val client: PoolClient = scorer.clients(index)
  private val guard: Option[BasePredicate] = scorer.guards(index)
  val builder: BatchBuilder = scorer.plans(index).newBuilder(scorer.allocator, scorer.isColumnar)

  private val places = if (guard.isDefined) new ArrayBuilder.ofInt else null
  private var message: BatchMessage = _
  private var ticket: Ticket = _
  private var memory: ArrowBuf = _
  private var result: FieldVector = _

  def append(row: InternalRow): Unit =
    if (guard.forall(_.eval(row))) {
      if (places != null) places += builder.rows
      builder.append(row)
    } else places += -1

  def append(batch: ColumnarBatch, from: Int, rows: Int): Unit = guard match {
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

  def send(): Unit = {
    val root = builder.finish()
    if (builder.rows > 0) {
      message = new BatchMessage(root)
      ticket = scorer.metrics.timed(scorer.metrics.sendTime) {
        scorer.failing(client.submit(
          call.stream, call.options.limits, message.buffers, builder.rows, scorer.watch, call.options.timeoutS))
      }
    }
  }

  /** The predictions, as many as the chunk has rows. */
  def receive(rows: Int): ColumnVector =
    if (ticket == null) {
      val none = new ConstantColumnVector(rows, call.resultType)
      none.setNull()
      none
    } else {
      val values = scorer.wrap(answer())
      scorer.metrics.add(ticket, builder.rows)
      releaseMessage()
      if (places == null) values else new SparseColumn(values, places.result())
    }

  private def answer(): FieldVector = scorer.failing {
    val answer = client.collect(ticket, scorer.watch, length => {
      releaseMemory() // an earlier answer that was not whole
      memory = scorer.allocator.buffer(length)
      memory.nioBuffer(0, length)
    })
    val schema = scorer.schemaOf(answer.schema)
    val field = schema.getFields.get(0)
    if (!CatalystInternals.isOfType(field, call.resultType))
      wrong("WRONG_RESULT_TYPE", s"the pool answers $field, the function is ${call.resultType.sql}")
    val taken = memory
    memory = null
    scorer.metrics.bytesReceived += answer.payload.capacity
    result = Messages.column(schema, taken, scorer.allocator)
    if (result.getValueCount != builder.rows)
      wrong("PROTOCOL_ERROR", s"${builder.rows} rows were asked, ${result.getValueCount} were answered")
    result
  }

  private def wrong(condition: String, fact: String): Nothing =
    throw new ModelException(condition, s"Cannot score with '${call.handle.name}'", fact, "register the model again")

  private def releaseMemory(): Unit = if (memory != null) {
    memory.close()
    memory = null
  }

  private def releaseMessage(): Unit = if (message != null) {
    message.close()
    message = null
  }

  def close(): Unit = {
    if (ticket != null) client.release(ticket)
    releaseMessage()
    releaseMemory()
    builder.close()
    if (result != null) result.close()
  }
}
