// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.io.IOException
import java.net.SocketTimeoutException
import java.nio.ByteBuffer
import java.util.concurrent.CancellationException
import java.util.concurrent.atomic.AtomicInteger

/**
 * Talks to one pool. Safe for many threads; connections are kept and shared among them.
 *
 * It has sockets and knows the way, and nothing else: limits and options are each call's own.
 *
 * @param silenceS beyond a call's `timeoutS`: a worker that is silent so long is taken for stalled
 * @param goneS how long neither a worker nor the master may answer before the pool counts as gone; the successor of a
 *   dead master is there within 5 s
 */
class PoolClient private[wire] (ref: PoolRef, credential: Credential, silenceS: Double, goneS: Double) {
  import PoolClient._

  def this(ref: PoolRef, credential: Credential) = this(ref, credential, silenceS = 5, goneS = 10)

  private val what = PoolClient.what(ref.name)
  private val tls = credential.tls.map(TlsTransport.context)
  private val router = new Router()
  private val locator = new Locator(ref, credential, tls, router, goneS, learn)
  private val pins = new Pins()
  private val opened = new AtomicInteger()
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
   * Send a batch to a worker; returns when it has left.
   *
   * @param limits those of the call: they hold where the pool tells none, whoever this client was made for
   * @param message the Arrow message, in direct buffers that the caller keeps as they are until `collect` or `release`
   * @param timeoutS seconds until the caller's deadline; None waits as long as the batch's worker is alive
   */
  def submit(
      stream: StreamKey,
      limits: Limits,
      message: Seq[ByteBuffer],
      rows: Int,
      watch: Watch,
      timeoutS: Option[Double] = None): Ticket = {
    usedNs = System.nanoTime
    val ticket = new Ticket(stream, limits, message, rows, searching(timeoutS))
    dispatch(ticket, watch)
    ticket
  }

  /**
   * Wait for the answer to a batch; a batch that lost its worker goes to another.
   *
   * @param allocate makes a buffer of so many bytes; it is asked again if a worker is lost amid its answer
   */
  def collect(ticket: Ticket, watch: Watch, allocate: Int => ByteBuffer): Answer = {
    usedNs = System.nanoTime
    var answer = receive(ticket, watch, allocate)
    while (answer.isEmpty) {
      dispatch(ticket, watch)
      answer = receive(ticket, watch, allocate)
    }
    answer.get
  }

  /** Whether the answer to a batch has begun to arrive, or its worker is lost; does not wait. */
  def isReady(ticket: Ticket): Boolean = {
    val connection = ticket.connection
    connection != null && (
      try connection.poll()
      catch { case _: IOException | _: ModelException => true }) // for collect to see
  }

  /** Give a batch up: closes its connection, so that the worker drops it. Nothing happens if it was answered. */
  def release(ticket: Ticket): Unit = {
    locked(ticket.isReleased = true)
    end(ticket)
  }

  /** Take the way to the pool from a handle, where it is newer than what is known. */
  private[wire] def learn(newer: PoolRef): Unit = locator.learn(newer)

  /** Connections to workers, both idle and with a batch under way. */
  def openConnections: Int = opened.get

  /** Close the idle connections; the client connects anew if it is used again. */
  def close(): Unit = discard(locked(router.routes.values.toSeq.flatMap(router.takeIdle)))

  /** Close the connections that have lain idle since a time of System.nanoTime. */
  private[wire] def closeIdleSince(timeNs: Long): Unit = discard(locked {
    router.routes.values.toSeq.flatMap { route =>
      val (old, kept) = route.idle.toSeq.partition(_.idleSince - timeNs < 0)
      route.idle.clear()
      route.idle ++= kept
      old
    }
  })

  /** Whether no batch is under way. */
  private[wire] def isQuiet: Boolean = locked(router.routes.values.forall(_.inFlight == 0))

  private def searching(timeoutS: Option[Double]) =
    new Search(what, timeoutS.map(s => System.nanoTime + (s * 1e9).toLong))

  /** Put a batch on the wire to some worker; returns when it has left. */
  private def dispatch(ticket: Ticket, watch: Watch): Unit = {
    ticket.search.restart()
    while (!tryDispatch(ticket, watch)) ()
  }

  private def tryDispatch(ticket: Ticket, watch: Watch): Boolean = {
    val budgetMs = ticket.search.budgetMs()
    val route = locked {
      checkReleased(ticket)
      ticket.route = routeFor(ticket).orNull
      if (ticket.route != null) ticket.route.inFlight += 1
      ticket.route
    }
    if (route == null) {
      ticket.waiting {
        ticket.version = locator.find(ticket.stream, ticket.search, () => inForce(ticket.limits), watch)
        ticket.search.pause(watch)
      }
      false
    } else {
      var connection: Connection = null
      try {
        connection = connect(route, ticket, watch)
        val patience = patienceFor(ticket, watch)
        connection.open(ticket.stream, patience)
        connection.send(ticket, budgetMs, patience)
        true
      } catch {
        case _: IOException => // it was not scored: no retry is counted
          leaveAlone(ticket, route)
          false
        // another pool's worker has this port now, or this one is about to end
        case e: ModelException if Elsewhere(e.condition) =>
          leaveAlone(ticket, route)
          false
        case e: ModelException if e.condition == "WRONG_VERSION" => // it is another's, and knows whose the right one is
          ticket.search.failed += route.endpoint
          ticket.version = None
          giveBack(ticket, connection, refresh(connection, watch))
          false
        case e: Throwable =>
          end(ticket)
          throw e
      }
    }
  }

  /** The worker for a batch, None if somebody has to be asked. The caller holds the lock. */
  private def routeFor(ticket: Ticket): Option[Route] = {
    val search = ticket.search
    def again = {
      ticket.version = router.choose(ticket.stream.digest, search.failed)
      ticket.version.flatMap(router.pick(_, search.failed))
    }
    // each that does not answer costs seconds: the master may know by now that they are dead
    if (search.failed.nonEmpty && search.silentS > goneS) None
    else if (ticket.stream.pin.isDefined) ticket.stream.pin.flatMap(router.pick(_, search.failed))
    else ticket.version.flatMap(router.pick(_, search.failed)).orElse(again)
  }

  /** A batch's worker cannot be reached: it goes to another one. */
  private def leaveAlone(ticket: Ticket, route: Route): Unit = {
    ticket.search.failed += route.endpoint
    end(ticket, avoid = true)
  }

  /** Wait for the answer of the worker that has the batch; None if the batch has to be sent again. */
  private def receive(ticket: Ticket, watch: Watch, allocate: Int => ByteBuffer): Option[Answer] = {
    val connection = ticket.connection
    if (connection == null) throw new CancellationException(s"$what: the batch was released or collected")
    val patience = patienceFor(ticket, watch)
    try {
      val head = ticket.waiting(connection.receive(patience))
      if (head.status == Frames.Ok) {
        // read before the connection is put aside: what cannot be read must not leave it in use
        val answer = connection.answer(ticket.rows, patience, allocate)
        ticket.head = head
        keep(ticket, connection, head, watch)
        Some(answer)
      } else {
        val error = connection.error(patience)
        // after a timeout the connection's other end is stuck in the model, and the worker about to end
        val isEnding = error.condition == "WORKER_STOPPING" || error.condition == "PREDICT_TIMEOUT"
        if (isEnding) end(ticket, avoid = true) else keep(ticket, connection, head, watch)
        if (head.status != Frames.Retry) throw error
        if (!isEnding) ticket.waiting(ticket.search.pause(watch)) // full queues: hold the caller back, do not fail it
        None
      }
    } catch {
      case _: SocketTimeoutException =>
        end(ticket, avoid = true)
        ticket.search.budgetMs()
        countLoss(ticket)(new ModelException(
          "PREDICT_TIMEOUT", what, s"worker ${connection.endpoint} was silent for ${silenceNs(ticket) / 1e9} s"))
        None
      case e: IOException =>
        end(ticket, avoid = true)
        countLoss(ticket)(new ModelException(
          "WORKER_LOST",
          what,
          s"a batch was on ${ticket.losses} workers that died before they answered (${e.getMessage})",
          "its rows may crash the model: score them alone, or look into the workers' logs",
          cause = e))
        None
      case e: Throwable =>
        end(ticket)
        throw e
    }
  }

  /** A batch has lost its worker; fails with the error if that was once too often. */
  private def countLoss(ticket: Ticket)(error: => ModelException): Unit = if (!ticket.isReleased) {
    ticket.losses += 1
    if (ticket.losses > inForce(ticket.limits).maxRetries) throw error
  }

  /** Give a batch a connection to its worker: an idle one, of the same stream if there is one, or a new one. */
  private def connect(route: Route, ticket: Ticket, watch: Watch): Connection = {
    var found = takeIdle(route, ticket.stream)
    while (found.exists(_.isStale)) {
      discard(found.toSeq)
      found = takeIdle(route, ticket.stream)
    }
    val connection = found.getOrElse {
      val made =
        Connection(route.endpoint, ref.name, credential, tls, Connection.patience(watch, ticket.search.deadlineNs))
      opened.incrementAndGet()
      ticket.search.hear()
      learn(made.directory)
      made
    }
    try locked {
      checkReleased(ticket)
      ticket.connection = connection
    } catch {
      case e: CancellationException =>
        discard(Seq(connection))
        throw e
    }
    connection
  }

  private def checkReleased(ticket: Ticket): Unit =
    if (ticket.isReleased) throw new CancellationException(s"$what: the batch was released")

  private def takeIdle(route: Route, stream: StreamKey): Option[Connection] = locked {
    if (route.idle.isEmpty) None
    else {
      val same = route.idle.lastIndexWhere(_.stream == stream)
      Some(route.idle.remove(if (same < 0) route.idle.size - 1 else same))
    }
  }

  private def learn(directory: Directory): Unit = discard(locked(router.update(directory)))

  /** End a batch's stay at a worker that has answered; the connection is kept for the next one. */
  private def keep(ticket: Ticket, connection: Connection, head: Head, watch: Watch): Unit = {
    val isSound = head.revision <= locked(router.directory.revision) || refresh(connection, watch)
    locked(if (ticket.route != null) ticket.route.load = head.load)
    giveBack(ticket, connection, isSound)
  }

  /** End a batch's stay at a worker, and put the connection aside if it is in order. */
  private def giveBack(ticket: Ticket, connection: Connection, isSound: Boolean): Unit = discard(locked {
    val route = ticket.route
    if (!leave(ticket)) Nil // another thread has released it meanwhile
    else if (isSound && router.routes.get(route.endpoint).contains(route)) {
      connection.idleSince = System.nanoTime
      route.idle += connection
      Nil
    } else Seq(connection)
  })

  /** End a batch's stay at a worker, if it has one, and close the connection. */
  private def end(ticket: Ticket, avoid: Boolean = false): Unit = {
    val drop = locked {
      val (route, connection) = (ticket.route, ticket.connection)
      val idle = if (avoid && route != null && !ticket.isReleased) router.avoid(route) else Nil
      leave(ticket)
      idle ++ Option(connection)
    }
    discard(drop)
  }

  /** Take a batch from its worker; whether it was there. The caller holds the lock. */
  private def leave(ticket: Ticket): Boolean = {
    val wasThere = ticket.route != null
    if (wasThere) ticket.route.inFlight -= 1
    ticket.route = null
    ticket.connection = null
    wasThere
  }

  /** Take the newest directory from a worker; whether its connection is still in order. */
  private def refresh(connection: Connection, watch: Watch): Boolean =
    try {
      connection.locate(Connection.patience(watch))
      learn(connection.directory)
      true
    } catch { case _: IOException | _: ModelException => false } // the answer is here: it must not be lost for this

  private def patienceFor(ticket: Ticket, watch: Watch) =
    new Patience(watch, silenceNs(ticket), ticket.search.deadlineNs)

  private def silenceNs(ticket: Ticket): Long = ((inForce(ticket.limits).timeoutS + silenceS) * 1e9).toLong

  private def discard(connections: Seq[Connection]): Unit = connections.foreach { connection =>
    opened.decrementAndGet()
    connection.close()
  }

  private def locked[T](body: => T): T = router.synchronized(body)
}

object PoolClient {
  private val Elsewhere = Set("WORKER_STOPPING", "AUTHENTICATION_FAILED")

  private[wire] def what(name: String): String = s"Cannot score with '$name'"

  /**
   * This JVM's client of a pool: one for all tasks, so that connections outlive batches and tasks. All handles of the
   * pool share it, whatever else they say; but a token opens no connection of another's.
   */
  def of(handle: Handle): PoolClient = Clients.of(handle)
}
