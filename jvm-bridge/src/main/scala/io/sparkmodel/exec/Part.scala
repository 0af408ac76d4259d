// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import scala.collection.mutable.ArrayBuffer

import io.sparkmodel.wire.{ModelException, PoolClient, Ticket}
import org.apache.arrow.memory.ArrowBuf
import org.apache.arrow.vector.{FieldVector, VectorSchemaRoot}
import org.apache.arrow.vector.util.VectorBatchAppender
import org.apache.spark.sql.execution.vectorized.ConstantColumnVector
import org.apache.spark.sql.sparkmodel.CatalystInternals
import org.apache.spark.sql.vectorized.ColumnVector

/** One call's part of a chunk: its arguments on their way, and then its predictions. */
class Part(scorer: Scorer, index: Int, share: Share) {
  private val call: ScoreCall = scorer.calls(index)
  private val client: PoolClient = scorer.clients(index)

  /** A message to a worker, and what comes back. */
  private class Sent(val message: BatchMessage, val rows: Int) {
    var ticket: Ticket = _
    var memory: ArrowBuf = _
    var result: FieldVector = _

    def releaseMemory(): Unit = if (memory != null) {
      memory.close()
      memory = null
    }

    def close(): Unit = {
      if (ticket != null) client.release(ticket)
      message.close()
      releaseMemory()
      if (result != null) result.close()
    }
  }

  private val sent = ArrayBuffer.empty[Sent]

  def send(): Unit = if (share.builder.rows > 0) send(share.builder.columns(scorer.columnsOf(index)))

  /** In one message, unless that were larger than a worker should have to take. */
  private def send(root: VectorSchemaRoot): Unit = {
    val rows = root.getRowCount
    val message = new BatchMessage(root)
    if (message.length <= BatchSize.Message || rows == 1) {
      val one = new Sent(message, rows)
      sent += one
      val stream = scorer.streamOf(index)
      one.ticket = scorer.metrics.timed(scorer.metrics.sendTime) {
        val options = call.options
        scorer.failing(client.submit(
          stream, options.limits, message.buffers, rows, scorer.watch, options.timeoutS, scorer.callers(index)))
      }
    } else {
      message.close()
      Seq((0, rows / 2), (rows / 2, rows - rows / 2)).foreach { case (from, count) =>
        val slice = root.slice(from, count)
        try send(slice)
        finally slice.close()
      }
    }
  }

  /** The predictions, as many as the chunk has rows. */
  def receive(rows: Int): ColumnVector =
    if (sent.isEmpty) {
      val none = new ConstantColumnVector(rows, call.resultType)
      none.setNull()
      none
    } else {
      sent.foreach { one =>
        answer(one)
        scorer.metrics.add(one.ticket, one.rows)
        one.message.close()
      }
      val results = sent.map(_.result)
      if (results.size > 1) VectorBatchAppender.batchAppend(results.head, results.tail.toSeq: _*)
      share.spread(scorer.wrap(results.head))
    }

  private def answer(one: Sent): Unit = scorer.failing {
    val answer = client.collect(one.ticket, scorer.watch, length => {
      one.releaseMemory() // an earlier answer that was not whole
      one.memory = scorer.allocator.buffer(length)
      one.memory.nioBuffer(0, length)
    })
    val schema = scorer.schemaOf(answer.schema)
    val field = schema.getFields.get(0)
    if (!CatalystInternals.isOfType(field, call.resultType))
      wrong("WRONG_RESULT_TYPE", s"the pool answers $field, the function is ${call.resultType.sql}")
    val taken = one.memory
    one.memory = null
    scorer.metrics.bytesReceived += answer.payload.capacity
    one.result = Messages.column(schema, taken, scorer.allocator, what)
    if (one.result.getValueCount != one.rows)
      wrong("PROTOCOL_ERROR", s"${one.rows} rows were asked, ${one.result.getValueCount} were answered")
  }

  private def wrong(condition: String, fact: String): Nothing =
    throw new ModelException(condition, what, fact, "register the model again")

  private def what = s"Cannot score with '${call.handle.name}'"

  def close(): Unit = sent.foreach(_.close())
}
