// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.io.IOException
import java.nio.ByteBuffer
import java.nio.charset.StandardCharsets.UTF_8
import java.util.concurrent.ConcurrentLinkedDeque
import java.util.concurrent.atomic.AtomicInteger

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
  private[wire] def toJson: Array[Byte] = json(isWhole = true)

  /** The same but for the query, its version and who calls: by this and its bytes a batch is known again. */
  private[wire] def content: Array[Byte] = json(isWhole = false)

  private def json(isWhole: Boolean): Array[Byte] = {
    val node = Handle.json.createObjectNode()
    node.put("binding", if (byName) "name" else "position")
    if (call.caseSensitive) node.put("case_sensitive", true)
    if (digest.nonEmpty) node.put("digest", digest)
    call.onError.foreach(node.put("on_error", _))
    // as it was written: a second reader might spell its numbers in another way
    if (call.params.nonEmpty) node.putRawValue("params", new RawValue(call.params))
    if (isWhole) pin.fold(node.putNull("pin"))(node.put("pin", _))
    if (isWhole && call.query.nonEmpty) node.put("query", call.query)
    node.put("schema", schema)
    if (isWhole && call.source.nonEmpty) node.put("source", call.source)
    call.timeZone.foreach(node.put("time_zone", _))
    node.toString.getBytes(UTF_8)
  }
}

/** Looked at while a caller waits, at least every 200 ms: throws to give up, such as when its task was killed. */
trait Watch {
  def check(): Unit
}

/**
 * Whose batches are meant where one is found that ends its workers, and who takes their answers in order: a call in a
 * task.
 *
 * @param partition of the task; None where there is none
 * @param others of the same thread
 */
final class Caller(val partition: Option[Int] = None, others: Option[Caller] = None) {
  private var count = 0

  // those whose answers are not taken: while there is one, nothing may wait for room, since who holds that up may be
  // just such a caller
  private[wire] val sent: ConcurrentLinkedDeque[Ticket] =
    others.fold(new ConcurrentLinkedDeque[Ticket]())(_.sent)

  // batches that were not sent for want of room, or behind such a one: when those before them are answered
  private[wire] val left: AtomicInteger = others.fold(new AtomicInteger())(_.left)

  /** Which its next batch is. */
  private[wire] def nextPlace(): String = {
    count += 1
    partition.fold(s"batch $count")(partition => s"partition $partition, batch $count")
  }
}

/**
 * A batch under way, for one thread at a time; another thread may release it. The counters are for metrics.
 *
 * @param part the batch that it is a part of, which was found to end its workers; it is alone in the model then
 */
final class Ticket private[wire] (
    private[wire] val stream: StreamKey,
    private[wire] val limits: Limits,
    private[wire] val message: Seq[ByteBuffer],
    val rows: Int,
    private[wire] val search: Search,
    private[wire] val caller: Caller,
    private[wire] val part: Option[Ticket] = None) {

  private[wire] val place: String = part.fold(caller.nextPlace())(_.place)
  private[wire] val losses: Losses = new Losses(rows, place, part.map(_.losses))
  private[wire] var version: Option[Int] = None // that of its worker, where it is held to none
  private[wire] var opened: Opened = _
  private[wire] var route: Route = _
  private[wire] var connection: Connection = _
  private[wire] var holder: Connections = _ // of whom the connection is
  private[wire] var sent = 0L
  private[wire] var waited = 0L
  private[wire] var isSent = false
  private[wire] var isLeft = false
  private[wire] var head: Head = _
  private[wire] var isReleased = false
  private[wire] var isCollected = false
  private[wire] var poison: Poisoned = _ // found as it was to be sent

  /** By which it is known again; made when it is asked for first. */
  private[wire] lazy val key: String = Verdict.keyOf(stream, message)

  /** Length of the message. */
  private[wire] val bytes: Long = message.iterator.map(_.remaining.toLong).sum

  /** Times the batch was sent again because its worker was lost. */
  def retries: Int = losses.total

  /** Bytes of the messages sent, those of retries included. */
  def sentBytes: Long = sent

  /** Time spent waiting for an answer or for a worker that has room. */
  def waitNs: Long = waited

  /** Time between the batch's arrival at the worker and the model; 0 before the answer. */
  def queueUs: Long = if (head == null) 0 else head.queueUs

  /** Time in the model; 0 before the answer. */
  def predictUs: Long = if (head == null) 0 else head.predictUs

  /** Whether the answer has begun to arrive; does not wait. */
  private[wire] def isAnswered(ifLost: Boolean): Boolean = {
    val connection = this.connection
    connection != null && isSent && (
      try connection.poll()
      catch { case _: IOException | _: ModelException => ifLost }) // for collect to see
  }

  /** Whether nobody wants its answer any more. The caller holds the lock. */
  private[wire] def isGivenUp: Boolean = isReleased || part.exists(_.isGivenUp)

  /** What becomes of its rows that are at fault. */
  private[wire] def onError(inForce: Limits): String = stream.call.onError.getOrElse(inForce.onError)

  /** Count what a part of it cost. */
  private[wire] def include(part: Ticket): Unit = {
    sent += part.sent
    waited += part.waited
    losses.total += part.losses.total
  }

  /** Run what is a wait, and count its time. */
  private[wire] def waiting[T](body: => T): T = {
    val started = System.nanoTime
    try body
    finally waited += System.nanoTime - started
  }
}

/**
 * What a worker says of a stream that it has opened.
 *
 * @param schema of its answers, as `Schemas` writes it
 */
private[wire] case class Opened(schema: String, version: Int)

/**
 * The answer to a batch.
 *
 * @param payload one encapsulated Arrow record batch message, in the buffer that was allocated for it
 * @param schema Arrow schema of the answer: the base64 of its IPC message
 * @param version the model version that answered
 */
case class Answer(payload: ByteBuffer, schema: String, version: Int)
