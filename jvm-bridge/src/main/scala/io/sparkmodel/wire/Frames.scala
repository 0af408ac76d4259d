// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.io.IOException
import java.nio.ByteBuffer
import java.nio.charset.StandardCharsets.UTF_8

import com.fasterxml.jackson.databind.JsonNode

/**
 * Header of an answer. Times are microseconds; `load` counts the worker's unfinished batches, `revision` is that of the
 * newest directory it knows.
 */
private[wire] case class Head(
    status: Int, seq: Int, revision: Revision, queueUs: Long, predictUs: Long, load: Long, length: Long)

/** Frames of the wire protocol, version 3, as docs/protocol.md specifies them. Integers are big-endian. */
private[wire] object Frames {
  val Version = 3
  val PrefaceBytes = 8
  val RequestBytes = 24
  val HeadBytes = 32
  val MaxJsonBytes: Int = 1 << 20

  val Hello = 0
  val Open = 1
  val Batch = 2
  val Pin = 3
  val Prove = 4
  val Credit = 5
  val Fate = 6
  val Condemn = 7

  val Alone = 1 // flag of a batch: nothing else is to be in the model with it

  val Ok = 0
  val Error = 1
  val Retry = 2
  val Alive = 3
  val Info = 4

  private val magic = "SPKM".getBytes(UTF_8)
  private val maxBudgetMs = 0xffffffffL

  /** Write the eight bytes with which each side opens a connection. */
  def putPreface(buffer: ByteBuffer): Unit =
    buffer.put(magic).putShort(Version.toShort).putShort(0)

  /** Write the header of a request. */
  def putRequest(buffer: ByteBuffer, kind: Int, seq: Int, budgetMs: Long, length: Long, flags: Int = 0): Unit =
    buffer.putInt(kind << 24 | flags << 16).putInt(seq).putInt(math.min(budgetMs, maxBudgetMs).toInt).putInt(0).putLong(length)

  /** Check the other side's first bytes. */
  def checkPreface(buffer: ByteBuffer, what: String): Unit = {
    val first = new Array[Byte](magic.length)
    buffer.get(first)
    if (!first.sameElements(magic)) {
      throw broken(what, s"the first bytes are '${first.map(printable).mkString}', not 'SPKM'")
    }
    val version = buffer.getShort & 0xffff
    if (version != Version) {
      throw new ModelException(
        "PROTOCOL_VERSION_MISMATCH",
        what,
        s"the other side speaks protocol version $version, this side $Version",
        "install the same version of sparkmodel on Spark's and on Ray's side")
    }
  }

  /** Read the header of an answer; the length is checked before memory is taken for it. */
  def readHead(buffer: ByteBuffer, what: String): Head = {
    val first = buffer.getInt
    val head = Head(
      first >>> 24,
      buffer.getInt,
      Revision(first & 0xffff, Integer.toUnsignedLong(buffer.getInt)),
      Integer.toUnsignedLong(buffer.getInt),
      Integer.toUnsignedLong(buffer.getInt),
      Integer.toUnsignedLong(buffer.getInt),
      buffer.getLong)
    if (head.status > Info) throw broken(what, s"unknown answer status ${head.status}")
    val limit = if (head.status == Ok) Int.MaxValue else MaxJsonBytes
    if (head.length < 0 || head.length > limit) {
      throw broken(what, s"an answer has ${java.lang.Long.toUnsignedString(head.length)} bytes, the limit is $limit")
    }
    head
  }

  /** The JSON object in a payload. */
  def json(payload: ByteBuffer, what: String): JsonNode = {
    val bytes = new Array[Byte](payload.remaining)
    payload.duplicate().get(bytes)
    val node =
      try Handle.json.readTree(bytes)
      catch { case e: IOException => throw broken(what, s"a message is not JSON: ${e.getMessage}", e) }
    if (!node.isObject) throw broken(what, "a message is not a JSON object")
    node
  }

  /** The error for an answer that breaks the protocol. */
  def broken(what: String, fact: String, cause: Throwable = null): ModelException =
    new ModelException("PROTOCOL_ERROR", what, fact, cause = cause)

  private def printable(byte: Byte): Char = if (byte >= 0x20 && byte < 0x7f) byte.toChar else '.'
}
