// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import java.io.IOException
import java.nio.{ByteBuffer, ByteOrder}

import scala.collection.mutable.ArrayBuffer
import scala.jdk.CollectionConverters._

import io.sparkmodel.wire.{ModelException, Sound}
import org.apache.arrow.flatbuf.{Message, RecordBatch}
import org.apache.arrow.memory.{ArrowBuf, BufferAllocator}
import org.apache.arrow.vector.FieldVector
import org.apache.arrow.vector.{VectorLoader, VectorSchemaRoot, VectorUnloader}
import org.apache.arrow.vector.ipc.message.{ArrowRecordBatch, IpcOption, MessageSerializer}
import org.apache.arrow.vector.types.pojo.Schema

/** A record batch as the buffers of one encapsulated IPC message; holds their memory until it is closed. */
class BatchMessage(root: VectorSchemaRoot) extends AutoCloseable {
  private val batch: ArrowRecordBatch = new VectorUnloader(root).getRecordBatch
  private var isOpen = true

  /** Bytes of its body. */
  val length: Long = batch.computeBodyLength

  /** The message, gathered: Arrow's own writer would copy each buffer. */
  val buffers: Seq[ByteBuffer] = {
    val parts = ArrayBuffer(head(MessageSerializer.serializeMetadata(batch, IpcOption.DEFAULT)))
    var written = 0L
    def pad(until: Long): Unit = if (until > written) {
      parts += BatchMessage.zeros((until - written).toInt)
      written = until
    }
    batch.getBuffers.asScala.zip(batch.getBuffersLayout.asScala).foreach { case (buffer, place) =>
      pad(place.getOffset)
      if (place.getSize > 0) parts += buffer.nioBuffer(0, place.getSize.toInt)
      written += place.getSize
    }
    pad(length)
    parts.toSeq
  }

  private def head(metadata: ByteBuffer): ByteBuffer = {
    val length = (metadata.remaining + 7) / 8 * 8
    val made = ByteBuffer.allocateDirect(8 + length).order(ByteOrder.LITTLE_ENDIAN)
    made.putInt(-1).putInt(length).put(metadata)
    made.rewind()
  }

  /** Twice does no harm. */
  override def close(): Unit = if (isOpen) {
    isOpen = false
    batch.close()
  }
}

object BatchMessage {
  private val Zeros = ByteBuffer.allocateDirect(64).asReadOnlyBuffer

  /** Buffers are padded to eight bytes; each message reads its own view. */
  private def zeros(count: Int): ByteBuffer =
    if (count > Zeros.capacity) ByteBuffer.allocateDirect(count) else Zeros.slice(0, count)
}

object Messages {

  /**
   * The one column of an answer, which takes over the memory that the message was read into; it holds together, or it is
   * a PROTOCOL_ERROR.
   */
  def column(schema: Schema, memory: ArrowBuf, allocator: BufferAllocator, what: String): FieldVector =
    try loaded(schema, memory, allocator)
    catch {
      case error @ (_: RuntimeException | _: IOException) =>
        release(memory)
        val fact = s"an answer does not hold together: ${error.getMessage}"
        throw new ModelException("PROTOCOL_ERROR", what, fact, cause = error)
      case error: Throwable => release(memory); throw error
    }

  private def loaded(schema: Schema, memory: ArrowBuf, allocator: BufferAllocator): FieldVector = {
    val message = memory.nioBuffer(0, memory.capacity.toInt).order(ByteOrder.LITTLE_ENDIAN)
    val length = message.getInt(4)
    val metadata = Message.getRootAsMessage(message.slice(8, length).order(ByteOrder.LITTLE_ENDIAN))
    val header = metadata.header(new RecordBatch).asInstanceOf[RecordBatch]
    val body = memory.slice(8L + length, memory.capacity - 8 - length)
    val batch = MessageSerializer.deserializeRecordBatch(header, body) // gives up its own hold on the memory
    try {
      val root = VectorSchemaRoot.create(schema, allocator)
      try {
        new VectorLoader(root).load(batch)
        Sound.check(root.getVector(0)) // the lengths of its buffers, and where they lead
        root.getVector(0)
      } catch { case error: Throwable => root.close(); throw error }
    } finally batch.close()
  }

  /** Let go of what a vector that was not made may hold of it. */
  private def release(memory: ArrowBuf): Unit = {
    val count = memory.refCnt
    if (count > 0) memory.getReferenceManager.release(count)
  }
}
