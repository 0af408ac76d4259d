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
  private var freeBytes: Option[Long] = None // a longer batch needs leave to be sent; None where none does

  /** What the worker said of the stream that is open. */
  var opened: Opened = _

  /** Its number in the worker, 0 if that tells none. */
  var session = 0L

  /** What batches can be sent without another open request; null for none. */
  var stream: StreamKey = _

  /** Whether a batch, or the schema of a stream, was on its way as the connection was lost. */
  var isSending, isOpening = false

  /** The newest directory that the other side has told. */
  var directory: Directory = _

  /** What the other side has told of its speed last, and whether it was taken. */
  var told: Option[Told] = None
  var isHeard = false

  /** The other side's count of batches, as it said who it is. */
  var load = 0L

  /** What a master gave in the place of the credential that was shown. */
  var renewed: Option[Credential] = None

  /** When it was put aside, of System.nanoTime. */
  var idleSince = 0L

  override def toString: String = s"Connection($endpoint)"

  /** Ask for the newest directory that the other side knows; what it tells of its speed is new too. */
  def locate(patience: Patience): Unit = {
    request(Frames.Hello, "{}".getBytes(UTF_8), patience)
    val reply = expectInfo(patience)
    directory = directoryOf(reply)
    told = Told.of(reply)
    isHeard = false
  }

  /** Make the connection ready for batches of a stream; nothing is sent if it is already. */
  def open(wanted: StreamKey, patience: Patience): Unit =
    if (stream != wanted) {
      stream = null
      isOpening = true
      request(Frames.Open, wanted.toJson, patience)
      val reply = expectInfo(patience)
      opened = Opened(Schemas.checked(field(reply, "schema").asText, what), field(reply, "version").asInt)
      if (wanted.pin.exists(_ != opened.version)) {
        throw Frames.broken(what, s"version ${wanted.pin.get} was asked, ${opened.version} was opened")
      }
      stream = wanted
      isOpening = false
    }

  /** Ask a master for the version of a query, which may take as long as its workers take to start. */
  def pin(query: String, digest: String, budgetMs: Long, patience: Patience): Int = {
    val asked = Handle.json.createObjectNode().put("digest", digest).put("query", query)
    request(Frames.Pin, asked.toString.getBytes(UTF_8), patience, budgetMs)
    val reply = expectInfo(patience)
    directory = directoryOf(reply)
    field(reply, "pinned").asInt
  }

  /** Ask a master what became of a batch at a worker, by its connection's number there and its own. */
  def fate(worker: Endpoint, session: Long, seq: Long, patience: Patience): Fate = {
    val asked = Handle.json.createObjectNode()
    asked.putArray("endpoint").add(worker.host).add(worker.port)
    request(Frames.Fate, asked.put("seq", seq).put("session", session).toString.getBytes(UTF_8), patience)
    val reply = expectInfo(patience)
    directory = directoryOf(reply)
    try Fate(reply)
    catch { case e: IllegalArgumentException => throw Frames.broken(what, s"no fate: ${e.getMessage}", e) }
  }

  /** Have a master tell all callers of a batch that ends its workers. */
  def condemn(verdict: Verdict, patience: Patience): Unit = {
    request(Frames.Condemn, verdict.toJson.toString.getBytes(UTF_8), patience)
    directory = directoryOf(expectInfo(patience))
  }

  /**
   * Send one batch; the worker drops it if it has not begun it by its deadline. A long one is sent when the worker has
   * room for it.
   *
   * @param waits whether to wait for room; else it is POOL_BUSY, and nothing was sent
   */
  def send(ticket: Ticket, waits: Boolean, patience: Patience): Unit = {
    if (ticket.bytes > maxBatchBytes) {
      throw new ModelException(
        "BATCH_TOO_LARGE", what, s"a batch has ${ticket.bytes} bytes, a worker takes $maxBatchBytes")
    }
    seq = if (seq == -1) 1 else seq + 1 // unsigned: 0 is not a batch's
    if (freeBytes.exists(ticket.bytes > _)) ticket.waiting(askLeave(ticket, waits, patience))
    in.clear()
    head = null
    out.clear()
    val flags = if (ticket.losses.isSuspect) Frames.Alone else 0
    Frames.putRequest(out, Frames.Batch, seq, ticket.search.budgetMs(), ticket.bytes, flags)
    isSending = true
    write(out.flip() +: ticket.message.map(_.duplicate()), patience)
    isSending = false
    ticket.sent += Frames.RequestBytes + ticket.bytes
  }

  private def askLeave(ticket: Ticket, waits: Boolean, patience: Patience): Unit = {
    val asked = Handle.json.createObjectNode().put("bytes", ticket.bytes)
    if (!waits) asked.put("wait", false)
    request(Frames.Credit, asked.toString.getBytes(UTF_8), patience, ticket.search.budgetMs(), number = seq)
    val granted = field(expectInfo(patience), "granted").asLong
    if (granted != ticket.bytes) {
      throw Frames.broken(what, s"leave was asked for ${ticket.bytes} bytes, $granted were granted")
    }
  }

  /** The number of the last batch. */
  def lastSeq: Long = Integer.toUnsignedLong(seq)

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
    Answer(payload, opened.schema, opened.version)
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

  /** Prove who we are to a server that proves it first, which may not take long, and hear what it has to tell. */
  private def greet(brief: Patience, patience: Patience): Unit = {
    val introduction = new Introduction(credential, name, endpoint, what)
    request(Frames.Hello, introduction.hello, brief, isFirst = true)
    in.clear().limit(Frames.PrefaceBytes)
    read(in, brief)
    Frames.checkPreface(in.flip(), what)
    val answer = nextHead(brief)
    if (answer.length > Introduction.MaxBytes) throw Frames.broken(what, s"a stranger says ${answer.length} bytes")
    val said = answer.status match {
      case Frames.Error => throw introduction.refusal(ModelException.read(json(answer, brief)))
      case Frames.Info => json(answer, brief)
      case other => throw Frames.broken(what, s"a greeting is answered with status $other")
    }
    request(Frames.Prove, introduction.proof(said), brief)
    val greeting = expectInfo(patience)
    renewed = Option(greeting.get("credential")).filter(_.isObject).map { told =>
      credential.copy(claims = field(told, "claims").asText, key = field(told, "key").asText)
    }
    directory = directoryOf(greeting)
    maxBatchBytes = field(greeting, "max_batch_bytes").asLong
    freeBytes = Option(greeting.get("free_bytes")).map(_.asLong)
    session = greeting.path("session").asLong
    told = Told.of(greeting)
  }

  private def directoryOf(message: JsonNode): Directory =
    try Directory(message)
    catch { case e: IllegalArgumentException => throw Frames.broken(what, s"no directory: ${e.getMessage}", e) }

  private def request(
      kind: Int,
      payload: Array[Byte],
      patience: Patience,
      budgetMs: Long = 0,
      isFirst: Boolean = false,
      number: Int = 0): Unit = {
    out.clear()
    if (isFirst) Frames.putPreface(out)
    Frames.putRequest(out, kind, number, budgetMs, payload.length)
    write(Seq(out.flip(), ByteBuffer.wrap(payload)), patience)
  }

  private def expectInfo(patience: Patience): JsonNode = {
    var answer = nextHead(patience)
    while (answer.status == Frames.Alive) answer = nextHead(patience) // the worker is slow to answer, and says so
    answer.status match {
      case Frames.Error | Frames.Retry => throw ModelException.read(json(answer, patience))
      case Frames.Info =>
        load = answer.load
        json(answer, patience)
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
    while (!transport.write(sources)) patience.pauseToWrite(transport)
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
    val brief = limit.within(ConnectNs)
    val plain = PlainTransport.connect(endpoint, brief)
    val connection = new Connection(endpoint, name, credential, tls.fold[Transport](plain)(new TlsTransport(plain, _)))
    try {
      connection.greet(brief, limit)
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
