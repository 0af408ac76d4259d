// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.nio.{ByteBuffer, ByteOrder}

import org.apache.arrow.flatbuf.{Message, MessageHeader, MetadataVersion, RecordBatch}

/** Whether an Arrow message is what an answer may hold, before anybody reads memory by it. */
private[wire] object Payload {
  private val PrefixBytes = 8 // continuation marker, length of the metadata
  private val FreeValues = 1L << 22
  private val ValuesAByte = 64L

  /** Check that the bytes are one record batch of so many rows, whose buffers lie within its body. */
  def check(payload: ByteBuffer, rows: Int, what: String): Unit = {
    val found =
      try lengthOf(payload.slice().order(ByteOrder.LITTLE_ENDIAN))
      catch {
        case e: RuntimeException => // what a flatbuffer's reader makes of bytes that are none
          throw Frames.broken(what, s"a batch cannot be read: ${e.getMessage}", e)
      }
    if (found != rows) throw Frames.broken(what, s"$rows rows were asked, $found were answered")
  }

  private def lengthOf(bytes: ByteBuffer): Long = {
    require(bytes.getInt() == -1, "it does not start as an Arrow message")
    val metadata = bytes.getInt()
    require(metadata > 0 && metadata <= bytes.remaining, s"its metadata has $metadata bytes")
    val message = Message.getRootAsMessage(bytes.slice(PrefixBytes, metadata).order(ByteOrder.LITTLE_ENDIAN))
    val body = bytes.remaining.toLong - metadata
    require(message.version == MetadataVersion.V5, s"its metadata has version ${message.version}")
    require(message.headerType == MessageHeader.RecordBatch, "it is no record batch")
    require(message.bodyLength == body, s"its body has $body bytes, not ${message.bodyLength}")
    val batch = message.header(new RecordBatch()).asInstanceOf[RecordBatch]
    require(batch.compression == null, "it is compressed")
    // rows of nulls have no bytes; see sparkmodel/wire/messages.py
    val values = (0 until batch.nodesLength).map(i => BigInt(batch.nodes(i).length)).sum
    require(values <= FreeValues + ValuesAByte * body, s"it has $values values in ${bytes.limit()} bytes")
    for (i <- 0 until batch.nodesLength) {
      val node = batch.nodes(i)
      val isPossible = node.nullCount >= 0 && node.nullCount <= node.length && node.length <= Int.MaxValue
      require(isPossible, s"node $i is impossible")
    }
    for (i <- 0 until batch.buffersLength) {
      val buffer = batch.buffers(i)
      val isInside = buffer.offset >= 0 && buffer.length >= 0 && buffer.offset <= body - buffer.length
      require(isInside, s"buffer $i lies outside of it")
    }
    batch.length
  }
}
