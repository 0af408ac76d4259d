// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.io.{ByteArrayInputStream, ByteArrayOutputStream, IOException}
import java.nio.ByteBuffer
import java.nio.channels.Channels
import java.nio.charset.StandardCharsets.UTF_8

import scala.collection.mutable.ArrayBuffer
import scala.util.Using

import org.apache.arrow.memory.{BufferAllocator, RootAllocator}
import org.apache.arrow.vector.{FieldVector, IntVector, VarCharVector, VectorLoader, VectorSchemaRoot, VectorUnloader}
import org.apache.arrow.vector.complex.StructVector
import org.apache.arrow.vector.ipc.{ReadChannel, WriteChannel}
import org.apache.arrow.vector.ipc.message.MessageSerializer
import org.apache.arrow.vector.types.pojo.Schema
import org.apache.arrow.vector.util.VectorBatchAppender

/**
 * The rows of one batch that ends its workers, where rows that cannot be scored are no error: it is halved until they
 * stand alone.
 *
 * @param score scores a part, or throws Poisoned
 */
private[wire] final class Parts(what: String, ticket: Ticket, limits: Limits, score: Ticket => Answer) {
  private val startedNs = System.nanoTime
  private var calls = 0
  private var lost = 0
  private var done = 0

  /** The answer for all rows, of which those at fault have NULL, or a struct that says why. */
  def answer(first: Poisoned, allocate: Int => ByteBuffer): Answer =
    Using.resource(new RootAllocator()) { allocator =>
      Using.resource(read(ticket.message, Schemas.read(ticket.stream.schema), allocator)) { input =>
        val found = new ArrayBuffer[FieldVector]
        try {
          search(input, 0, ticket.rows, first, found, allocator)
          joined(found.toSeq, allocate)
        } finally found.foreach(_.close())
      }
    }

  private def search(
      input: VectorSchemaRoot,
      from: Int,
      rows: Int,
      poison: Poisoned,
      found: ArrayBuffer[FieldVector],
      allocator: BufferAllocator): Unit =
    if (rows == 1) {
      lost += 1
      done += 1
      found += faulty(poison, allocator)
    } else Seq((from, rows / 2), (from + rows / 2, rows - rows / 2)).foreach { case (start, count) =>
      checkBudget(poison)
      calls += 1
      try {
        val bytes = Using.resource(input.slice(start, count))(Parts.write)
        val part = new Ticket(
          ticket.stream, ticket.limits, Seq(bytes), count, ticket.search.again(), ticket.caller, Some(ticket))
        part.version = Some(ticket.opened.version)
        val answer =
          try score(part)
          finally ticket.include(part)
        found += take(answer, count, allocator)
        done += count
      } catch { case worse: Poisoned => search(input, start, count, worse, found, allocator) }
    }

  private def checkBudget(poison: Poisoned): Unit = {
    val seconds = (System.nanoTime - startedNs) / 1e9
    if (calls >= limits.bisectCalls || seconds >= limits.bisectS) {
      throw new ModelException(
        "BISECT_BUDGET",
        what,
        f"the search for the rows that end workers took $calls calls and $seconds%.0f s: $lost were found, " +
          s"${ticket.rows - done} rows of ${ticket.place} are left; the last: ${poison.fact}",
        "look into the rows, or raise bisect_calls or bisect_s")
    }
  }

  private def read(message: Seq[ByteBuffer], schema: Schema, allocator: BufferAllocator): VectorSchemaRoot = {
    val bytes = new ByteArrayOutputStream
    val channel = Channels.newChannel(bytes)
    message.foreach(part => channel.write(part.duplicate()))
    Parts.load(bytes.toByteArray, schema, allocator)
  }

  /** The one column of an answer. */
  private def take(answer: Answer, rows: Int, allocator: BufferAllocator): FieldVector = {
    val bytes = new Array[Byte](answer.payload.remaining)
    answer.payload.duplicate().get(bytes)
    val root =
      try Parts.load(bytes, Schemas.read(answer.schema), allocator)
      catch { case e @ (_: RuntimeException | _: IOException) =>
        throw Frames.broken(what, s"a batch cannot be read: ${e.getMessage}", e)
      }
    if (root.getFieldVectors.size != 1 || root.getVector(0).getValueCount != rows) {
      root.close()
      throw Frames.broken(what, s"one column of $rows rows was asked")
    }
    root.getVector(0)
  }

  /** What a row gets that cannot be scored. */
  private def faulty(poison: Poisoned, allocator: BufferAllocator): FieldVector = {
    val vector = Schemas.read(ticket.opened.schema).getFields.get(0).createVector(allocator)
    vector.allocateNew() // all NULL
    vector match {
      case struct: StructVector if ticket.onError(limits) == "struct" =>
        val message = poison.error(what).getMessage
        struct.setIndexDefined(0)
        struct.getChild("error").asInstanceOf[VarCharVector].setSafe(0, message.getBytes(UTF_8))
        struct.getChild("version").asInstanceOf[IntVector].setSafe(0, ticket.opened.version)
      case _ =>
    }
    vector.setValueCount(1)
    vector
  }

  private def joined(found: Seq[FieldVector], allocate: Int => ByteBuffer): Answer = {
    VectorBatchAppender.batchAppend(found.head, found.tail: _*)
    val bytes = Parts.write(VectorSchemaRoot.of(found.head))
    val payload = allocate(bytes.remaining)
    payload.duplicate().put(bytes)
    Answer(payload.duplicate().limit(payload.position() + bytes.limit()), ticket.opened.schema, ticket.opened.version)
  }
}

private[wire] object Parts {

  private def load(bytes: Array[Byte], schema: Schema, allocator: BufferAllocator): VectorSchemaRoot = {
    val channel = new ReadChannel(Channels.newChannel(new ByteArrayInputStream(bytes)))
    Using.resource(MessageSerializer.deserializeRecordBatch(channel, allocator)) { batch =>
      val root = VectorSchemaRoot.create(schema, allocator)
      try {
        new VectorLoader(root).load(batch)
        root.getFieldVectors.forEach(Sound.check(_))
      } catch { case e: Throwable => root.close(); throw e }
      root
    }
  }

  private def write(root: VectorSchemaRoot): ByteBuffer = {
    val bytes = new ByteArrayOutputStream
    Using.resource(new VectorUnloader(root).getRecordBatch) { batch =>
      MessageSerializer.serialize(new WriteChannel(Channels.newChannel(bytes)), batch)
    }
    ByteBuffer.wrap(bytes.toByteArray)
  }
}
