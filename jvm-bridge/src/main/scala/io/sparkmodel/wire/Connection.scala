// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.io.{EOFException, IOException}
import java.net.ConnectException
import java.nio.ByteBuffer
import java.nio.charset.StandardCharsets.UTF_8
import javax.net.ssl.{SSLContext, SSLException}

import com.fasterxml.jackson.databind.JsonNode

/**
 * One greeted connection to one worker; at most one batch is under way on it. For one thread at a time.
 *
 * A caller that wants several batches in flight takes several connections. So a caller never writes while a worker
 * writes to it, and neither can wait for the other for ever, however large batches and answers are.
 */
private[wire] final class Connection private (
    val endpoint: Endpoint, name: String, credential: Credential, transport: Transport) {
  private val what = PoolClient.what(name)
  private val out = ByteBuffer.allocateDirect(64)
  private val in = ByteBuffer.allocateDirect(Frames.HeadBytes)
  private var head: Head = _
  private var seq = 0
  private var maxBatchBytes = 0L
  private var resultSchema: String = _
  private var resultVersion = 0

  /** What batches can be sent without another open request; null for none. */
  var stream: StreamKey = _

  /** The newest directory that the other side has told. */
  var directory: Directory = _

  /** When it was put aside, of System.nanoTime. */
  var idleSince = 0L

  override def toString: String = s"Connection($endpoint)"

  /** Ask for the newest directory that the other side knows. */
  def locate(patience: Patience): Unit = greet(patience, first = false)

  /** Make the connection ready for batches of a stream; nothing is sent if it is already. */
  def open(wanted: StreamKey, patience: Patience): Unit =
    if (stream != wanted) {
      stream = null
      request(Frames.Open, wanted.toJson, patience)
      val reply = expectInfo(patience)
      resultSchema = field(reply, "schema").asText
      resultVersion = field(reply, "version").asInt
      if (wanted.pin.exists(_ != resultVersion)) {
        throw Frames.broken(what, s"version ${wanted.pin.get} was asked, $resultVersion was opened")
      }
      stream = wanted
    }

  /** Ask a master for the version of a query, which may take as long as its workers take to start. */
  def pin(query: String, digest: String, budgetMs: Long, patience: Patience): Int = {
    val asked = Handle.json.createObjectNode().put("digest", digest).put("query", query)
    request(Frames.Pin, asked.toString.getBytes(UTF_8), patience, budgetMs)
    val reply = expectInfo(patience)
    directory = directoryOf(reply)
    field(reply, "pinned").asInt
  }

  /** Send one batch; the worker drops it if it has not begun it within `budgetMs`, 0 for no limit. */
  def send(ticket: Ticket, budgetMs: Long, patience: Patience): Unit = {
    if (ticket.bytes > maxBatchBytes) {
      throw new ModelException(
        "BATCH_TOO_LARGE", what, s"a batch has ${ticket.bytes} bytes, a worker takes $maxBatchBytes")
    }
    seq = if (seq == -1) 1 else seq + 1 // unsigned: 0 is not a batch's
    in.clear()
    head = null
    out.clear()
    Frames.putRequest(out, Frames.Batch, seq, budgetMs, ticket.bytes)
    write(out.flip() +: ticket.message.map(_.duplicate()), patience)
    ticket.sent += Frames.RequestBytes + ticket.bytes
  }

  /** Whether the head of the answer to the last batch is here; reads what there is of it. */
  def poll(): Boolean = {
    while (head == null && fill(in)) {
      val next = Frames.readHead(in.flip(), what)
      in.clear()
      val isOfConnection = next.seq == 0 && (next.status == Frames.Error || next.status == Frames.Retry)
      if (next.seq != seq && !isOfConnection) {
        // Spark cannot see rows in the wrong order, so a wrong number must never pass
        throw Frames.broken(what, s"batch ${text(seq)} was asked, ${text(next.seq)} was answered")
      }
      if (next.status != Frames.Alive) head = next
    }
    head != null
  }

  /** Wait for the head of the answer to the last batch. */
  def receive(patience: Patience): Head = {
    while (!poll()) patience.pause(transport)
    head
  }

  /** The predictions that follow the head of an answer. */
  def answer(rows: Int, patience: Patience, allocate: Int => ByteBuffer): Answer = {
    val payload = allocate(head.length.toInt)
    val target = payload.duplicate()
    target.limit(target.position() + head.length.toInt)
    val view = target.duplicate()
    read(target, patience)
    Payload.check(view, rows, what)
    payload.limit(view.limit)
    Answer(payload, resultSchema, resultVersion)
  }

  /** The error that follows the head of an answer. */
  def error(patience: Patience): ModelException = ModelException.read(json(head, patience))

  /** Whether the worker closed it, or broke the silence, while it lay idle. */
  def isStale: Boolean =
    try {
      in.clear()
      transport.read(in) != 0
    } catch { case _: IOException => true }

  /** Close the connection; the worker drops what it has not begun. */
  def close(): Unit =
    try transport.close()
    catch { case _: IOException => () }

  private def greet(patience: Patience, first: Boolean): Unit = {
    val hello = Handle.json.createObjectNode()
    hello.put("client", Connection.client).put("model", name).put("token", credential.token)
    request(Frames.Hello, hello.toString.getBytes(UTF_8), patience, isFirst = first)
    if (first) {
      in.clear().limit(Frames.PrefaceBytes)
      read(in, patience)
      Frames.checkPreface(in.flip(), what)
    }
    val greeting = expectInfo(patience)
    directory = directoryOf(greeting)
    maxBatchBytes = field(greeting, "max_batch_bytes").asLong
  }

  private def directoryOf(message: JsonNode): Directory =
    try Directory(message)
    catch { case e: IllegalArgumentException => throw Frames.broken(what, s"no directory: ${e.getMessage}", e) }

  private def request(
      kind: Int, payload: Array[Byte], patience: Patience, budgetMs: Long = 0, isFirst: Boolean = false): Unit = {
    out.clear()
    if (isFirst) Frames.putPreface(out)
    Frames.putRequest(out, kind, 0, budgetMs, payload.length)
    write(Seq(out.flip(), ByteBuffer.wrap(payload)), patience)
  }

  private def expectInfo(patience: Patience): JsonNode = {
    var answer = nextHead(patience)
    while (answer.status == Frames.Alive) answer = nextHead(patience) // the worker is slow to answer, and says so
    answer.status match {
      case Frames.Error | Frames.Retry => throw ModelException.read(json(answer, patience))
      case Frames.Info => json(answer, patience)
      case other => throw Frames.broken(what, s"expected an info answer, got status $other")
    }
  }

  private def nextHead(patience: Patience): Head = {
    in.clear()
    read(in, patience)
    Frames.readHead(in.flip(), what)
  }

  private def json(answer: Head, patience: Patience): JsonNode = {
    val payload = ByteBuffer.allocate(answer.length.toInt)
    read(payload, patience)
    Frames.json(payload.flip(), what)
  }

  private def field(node: JsonNode, key: String): JsonNode =
    Option(node.get(key)).getOrElse(throw Frames.broken(what, s"a message lacks '$key'"))

  private def write(buffers: Seq[ByteBuffer], patience: Patience): Unit = {
    val sources = buffers.toArray
    while (!transport.write(sources)) patience.pause(transport)
  }

  private def read(target: ByteBuffer, patience: Patience): Unit = while (!fill(target)) patience.pause(transport)

  /** Read on into a buffer; whether it is full. */
  private def fill(target: ByteBuffer): Boolean = {
    var count = 1
    while (target.hasRemaining && count > 0) count = transport.read(target)
    if (count < 0) throw new EOFException("the connection was closed")
    !target.hasRemaining
  }

  private def text(number: Int): String = Integer.toUnsignedString(number)
}

private[wire] object Connection {
  private val ConnectNs = 5000000000L

  private lazy val client = s"jvm/${Option(getClass.getPackage.getImplementationVersion).getOrElse("unpacked")}"

  /** How long somebody may be silent before a connection, a greeting, a directory or a version. */
  def patience(watch: Watch, deadlineNs: Option[Long] = None): Patience = new Patience(watch, ConnectNs, deadlineNs)

  /**
   * Connect and greet, over TLS if there is a context for it.
   *
   * Throws an IOException if the worker cannot be reached or some other program has its port, a ModelException if it
   * refuses.
   */
  def apply(
      endpoint: Endpoint,
      name: String,
      credential: Credential,
      tls: Option[SSLContext],
      limit: Patience): Connection = {
    val plain = PlainTransport.connect(endpoint, limit)
    val connection = new Connection(endpoint, name, credential, tls.fold[Transport](plain)(new TlsTransport(plain, _)))
    try {
      connection.greet(limit, first = true)
      connection
    } catch {
      case e: ModelException if e.condition == "PROTOCOL_ERROR" =>
        connection.close()
        throw new ConnectException(s"$endpoint is no worker: ${e.getMessage}").initCause(e)
      case e: SSLException => // another pool or program has the port now
        connection.close()
        throw new ModelException(
          "AUTHENTICATION_FAILED",
          PoolClient.what(name),
          s"$endpoint does not speak TLS as this pool does (${e.getMessage})",
          "take the handle from sm.get(name)",
          cause = e)
      case e: Throwable =>
        connection.close()
        throw e
    }
  }
}
