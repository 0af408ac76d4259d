// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.nio.ByteBuffer
import java.nio.charset.StandardCharsets.UTF_8

import com.fasterxml.jackson.databind.util.RawValue

/**
 * What a stream is opened with; equal keys share opened connections.
 *
 * @param schema Arrow schema of the batches: the base64 of its IPC message
 * @param byName whether column names mean anything
 * @param call what a worker is told of how the function calls, with the query that the batches belong to
 * @param digest of the plan: a version that does not accept it is not asked; empty for any
 * @param pin the version that the query is held to
 */
case class StreamKey(
    schema: String, byName: Boolean, call: CallOptions, digest: String = "", pin: Option[Int] = None) {

  /** The payload of an open request, its keys in order as Python writes them. */
  private[wire] def toJson: Array[Byte] = {
    val node = Handle.json.createObjectNode()
    node.put("binding", if (byName) "name" else "position")
    if (call.caseSensitive) node.put("case_sensitive", true)
    if (digest.nonEmpty) node.put("digest", digest)
    call.onError.foreach(node.put("on_error", _))
    // as it was written: a second reader might spell its numbers in another way
    if (call.params.nonEmpty) node.putRawValue("params", new RawValue(call.params))
    pin.fold(node.putNull("pin"))(node.put("pin", _))
    if (call.query.nonEmpty) node.put("query", call.query)
    node.put("schema", schema)
    call.timeZone.foreach(node.put("time_zone", _))
    node.toString.getBytes(UTF_8)
  }
}

/** Looked at while a caller waits, at least every 200 ms: throws to give up, such as when its task was killed. */
trait Watch {
  def check(): Unit
}

/** A batch under way, for one thread at a time; another thread may release it. The counters are for metrics. */
final class Ticket private[wire] (
    private[wire] val stream: StreamKey,
    private[wire] val limits: Limits,
    private[wire] val message: Seq[ByteBuffer],
    val rows: Int,
    private[wire] val search: Search) {

  private[wire] var version: Option[Int] = None // that of its worker, where it is held to none
  private[wire] var route: Route = _
  private[wire] var connection: Connection = _
  private[wire] var sent = 0L
  private[wire] var waited = 0L
  private[wire] var losses = 0
  private[wire] var head: Head = _
  private[wire] var isReleased = false

  /** Length of the message. */
  private[wire] val bytes: Long = message.iterator.map(_.remaining.toLong).sum

  /** Times the batch was sent again because its worker was lost. */
  def retries: Int = losses

  /** Bytes of the messages sent, those of retries included. */
  def sentBytes: Long = sent

  /** Time spent waiting for an answer or for a worker that has room. */
  def waitNs: Long = waited

  /** Time between the batch's arrival at the worker and the model; 0 before the answer. */
  def queueUs: Long = if (head == null) 0 else head.queueUs

  /** Time in the model; 0 before the answer. */
  def predictUs: Long = if (head == null) 0 else head.predictUs

  /** Run what is a wait, and count its time. */
  private[wire] def waiting[T](body: => T): T = {
    val started = System.nanoTime
    try body
    finally waited += System.nanoTime - started
  }
}

/**
 * The answer to a batch.
 *
 * @param payload one encapsulated Arrow record batch message, in the buffer that was allocated for it
 * @param schema Arrow schema of the answer: the base64 of its IPC message
 * @param version the model version that answered
 */
case class Answer(payload: ByteBuffer, schema: String, version: Int)
