// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.nio.ByteBuffer
import java.util.concurrent.CancellationException

/**
 * Talks to one pool. Safe for many threads; connections are kept and shared among them.
 *
 * It has sockets and knows the way, and nothing else: limits and options are each call's own.
 */
class PoolClient private[wire] (ref: PoolRef, credential: Credential, times: Times) {

  def this(ref: PoolRef, credential: Credential) = this(ref, credential, Times())

  private val what = PoolClient.what(ref.name)
  private val tls = credential.tls.map(TlsTransport.context)
  private val router = new Router()
  private val locator = new Locator(ref, credential, tls, router, times.goneS, learn)
  private val connections = new Connections(ref.name, router, locator.connect)
  private val pins = new Pins()
  private val verdicts = new Verdicts()
  private val dispatcher = new Dispatcher(what, connections, router, locator, verdicts, times, inForce, isTolerant)
  private val receiver = new Receiver(what, connections, router, locator, verdicts, times, inForce, isTolerant)
  @volatile private[wire] var usedNs: Long = System.nanoTime

  router.update(ref.directory)

  override def toString: String = s"PoolClient(${ref.name}, ${locked(router.routes.size)} workers)"

  /**
   * The version that a query is held to, whoever asks: the pool's master settles it, once. If it has no workers they
   * are started, and waited for.
   *
   * @param digest of the plan, whose calls the version must answer right
   * @param limits as for `submit`
   */
  def pin(query: String, digest: String, limits: Limits, watch: Watch, timeoutS: Option[Double] = None): Int = {
    usedNs = System.nanoTime
    val search = searching(timeoutS)
    pins.of(query, digest, search, watch)(() => locator.pin(query, digest, search, () => inForce(limits), watch))
  }

  /** The limits of now: those that the pool's directory has, else those of a call. */
  def inForce(limits: Limits): Limits = locked(router.directory.limits).getOrElse(limits)

  /**
   * Send a batch to a worker; returns when it has left. If there is no room for it while its caller has answers to take,
   * it is left for `collect` to send.
   *
   * @param limits those of the call: they hold where the pool tells none, whoever this client was made for
   * @param message the Arrow message, in direct buffers that the caller keeps as they are until `collect` or `release`
   * @param timeoutS seconds until the caller's deadline; None waits as long as the batch's worker is alive
   * @param caller whose batch it is
   */
  def submit(
      stream: StreamKey,
      limits: Limits,
      message: Seq[ByteBuffer],
      rows: Int,
      watch: Watch,
      timeoutS: Option[Double] = None,
      caller: Caller = new Caller()): Ticket = {
    usedNs = System.nanoTime
    val ticket = new Ticket(stream, limits, message, rows, searching(timeoutS), caller)
    try dispatcher.first(ticket, watch)
    catch { case poison: Poisoned => if (isTolerant(ticket)) ticket.poison = poison else throw poison.error(what) }
    ticket
  }

  /**
   * Wait for the answer to a batch; a batch that lost its worker goes to another. One that ends its workers goes to them
   * by halves, if rows that cannot be scored are no error, and else nowhere any more.
   *
   * @param allocate makes a buffer of so many bytes; it is asked again if a worker is lost amid its answer
   */
  def collect(ticket: Ticket, watch: Watch, allocate: Int => ByteBuffer): Answer = {
    usedNs = System.nanoTime
    try whole(ticket, watch, allocate)
    catch {
      case poison: Poisoned if isTolerant(ticket) =>
        new Parts(what, ticket, inForce(ticket.limits), part(_, watch)).answer(poison, allocate)
      case poison: Poisoned => throw poison.error(what)
    }
  }

  /** Whether the answer to a batch has begun to arrive, or its worker is lost; does not wait. */
  def isReady(ticket: Ticket): Boolean = ticket.isAnswered(ifLost = true)

  /** Give a batch up: closes its connection, so that the worker drops it. Nothing happens if it was answered. */
  def release(ticket: Ticket): Unit = {
    locked(ticket.isReleased = true)
    dispatcher.take(ticket)
    connections.end(ticket)
  }

  /** Take the way to the pool from a handle, where it is newer than what is known. */
  private[wire] def learn(newer: PoolRef): Unit = locator.learn(newer)

  private def learn(newer: Directory): Unit = connections.learn(newer)

  /** Connections to workers, both idle and with a batch under way. */
  def openConnections: Int = connections.size

  /** Close the idle connections; the client connects anew if it is used again. */
  def close(): Unit = connections.close()

  /** Close the connections that have lain idle since a time of System.nanoTime. */
  private[wire] def closeIdleSince(timeNs: Long): Unit = connections.closeIdleSince(timeNs)

  /** Whether no batch is under way. */
  private[wire] def isQuiet: Boolean = locked(router.routes.values.forall(_.inFlight == 0))

  private def searching(timeoutS: Option[Double]) =
    new Search(what, timeoutS.map(s => System.nanoTime + (s * 1e9).toLong))

  private def whole(ticket: Ticket, watch: Watch, allocate: Int => ByteBuffer): Answer = {
    if (ticket.isCollected) throw new CancellationException(s"$what: the batch was collected")
    ticket.isCollected = true
    if (ticket.poison != null) throw ticket.poison
    dispatcher.take(ticket)
    var answer = Option.empty[Answer]
    while (answer.isEmpty) {
      if (!ticket.isSent) dispatcher.dispatch(ticket, watch)
      answer = receiver.receive(ticket, watch, allocate)
    }
    answer.get
  }

  private def part(ticket: Ticket, watch: Watch): Answer =
    try whole(ticket, watch, ByteBuffer.allocate(_))
    finally release(ticket)

  /** Whether rows of a batch that cannot be scored are no error. */
  private def isTolerant(ticket: Ticket): Boolean = ticket.onError(inForce(ticket.limits)) != "fail"

  private def locked[T](body: => T): T = router.synchronized(body)
}

object PoolClient {
  private[wire] def what(name: String): String = s"Cannot score with '$name'"

  /**
   * This JVM's client of a pool: one for all tasks, so that connections outlive batches and tasks. All handles of the
   * pool share it, whatever else they say; but a credential opens no connection of another's.
   */
  def of(handle: Handle): PoolClient = Clients.of(handle)
}
