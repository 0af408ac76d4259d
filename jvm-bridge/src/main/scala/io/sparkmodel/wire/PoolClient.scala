// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.io.IOException
import java.net.SocketTimeoutException
import java.nio.ByteBuffer
import java.util.concurrent.{CancellationException, ThreadLocalRandom}
import java.util.concurrent.atomic.AtomicInteger

/**
 * Talks to one pool. Safe for many threads; connections are kept and shared among them.
 *
 * It has sockets and knows the way, and nothing else: limits and options are each call's own.
 *
 * @param silenceS beyond a call's `timeoutS`: a worker that is silent so long is taken for stalled
 * @param goneS how long neither a worker nor the master may answer before the pool counts as gone
 */
class PoolClient private[wire] (ref: PoolRef, credential: Credential, silenceS: Double, goneS: Double) {
  import PoolClient._

  def this(ref: PoolRef, credential: Credential) = this(ref, credential, silenceS = 5, goneS = 3)

  private val what = PoolClient.what(ref.name)
  private val tls = credential.tls.map(TlsTransport.context)
  private val router = new Router()
  private val opened = new AtomicInteger()
  @volatile private[wire] var usedNs: Long = System.nanoTime

  private var pool = ref
  router.update(ref.directory)

  override def toString: String = s"PoolClient(${ref.name}, ${locked(router.routes.size)} workers)"

  /**
   * Send a batch to a worker; returns when it has left.
   *
   * @param limits those of the call: they hold, whoever this client was made for
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
    val ticket = new Ticket(stream, limits, message, rows, timeoutS.map(s => System.nanoTime + (s * 1e9).toLong))
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
  private[wire] def learn(newer: PoolRef): Unit = discard(locked {
    if (newer.directory.epoch <= pool.directory.epoch) Nil
    else {
      pool = newer
      router.update(newer.directory)
    }
  })

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

  /** Put a batch on the wire to some worker; returns when it has left. */
  private def dispatch(ticket: Ticket, watch: Watch): Unit = {
    val started = System.nanoTime
    while (!tryDispatch(ticket, watch, started)) ()
  }

  private def tryDispatch(ticket: Ticket, watch: Watch, started: Long): Boolean = {
    val budgetMs = budget(ticket)
    val route = locked {
      checkReleased(ticket)
      ticket.route = router.pick().orNull
      if (ticket.route != null) ticket.route.inFlight += 1
      ticket.route
    }
    if (route == null) {
      ticket.waiting {
        relocate(started, ticket.limits.readyTimeoutS, watch)
        pause(ticket, watch)
      }
      false
    } else {
      try {
        val connection = connect(route, ticket, watch)
        val patience = patienceFor(ticket, watch)
        connection.open(ticket.stream, patience)
        connection.send(ticket, budgetMs, patience)
        true
      } catch {
        case _: IOException => // it was not scored: no retry is counted
          end(ticket, avoid = true)
          false
        // another pool's worker has this port now, or this one is about to end
        case e: ModelException if Elsewhere(e.condition) =>
          end(ticket, avoid = true)
          false
        case e: Throwable =>
          end(ticket)
          throw e
      }
    }
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
        keep(ticket, head, watch)
        Some(answer)
      } else {
        val error = connection.error(patience)
        // after a timeout the connection's other end is stuck in the model, and the worker about to end
        val isEnding = error.condition == "WORKER_STOPPING" || error.condition == "PREDICT_TIMEOUT"
        if (isEnding) end(ticket, avoid = true) else keep(ticket, head, watch)
        if (head.status != Frames.Retry) throw error
        if (!isEnding) ticket.waiting(pause(ticket, watch)) // full queues: hold the caller back, do not fail it
        None
      }
    } catch {
      case _: SocketTimeoutException =>
        end(ticket, avoid = true)
        budget(ticket)
        throw new ModelException(
          "PREDICT_TIMEOUT", what, s"worker ${connection.endpoint} was silent for ${silenceNs(ticket) / 1e9} s")
      case e: IOException =>
        end(ticket, avoid = true)
        countLoss(ticket, e)
        None
      case e: Throwable =>
        end(ticket)
        throw e
    }
  }

  private def countLoss(ticket: Ticket, cause: IOException): Unit = if (!ticket.isReleased) {
    ticket.losses += 1
    if (ticket.losses > ticket.limits.maxRetries) {
      throw new ModelException(
        "WORKER_LOST",
        what,
        s"a batch was on ${ticket.losses} workers that died before they answered (${cause.getMessage})",
        "its rows may crash the model: score them alone, or look into the workers' logs",
        cause = cause)
    }
  }

  /** Give a batch a connection to its worker: an idle one, of the same stream if there is one, or a new one. */
  private def connect(route: Route, ticket: Ticket, watch: Watch): Connection = {
    var found = takeIdle(route, ticket.stream)
    while (found.exists(_.isStale)) {
      discard(found.toSeq)
      found = takeIdle(route, ticket.stream)
    }
    val connection = found.getOrElse {
      val made = Connection(route.endpoint, ref.name, credential, tls, watch)
      opened.incrementAndGet()
      learn(made)
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

  private def learn(connection: Connection): Unit = discard(locked(router.update(connection.directory)))

  /** End a batch's stay at a worker that has answered; the connection is kept for the next one. */
  private def keep(ticket: Ticket, head: Head, watch: Watch): Unit = {
    val connection = ticket.connection
    val isSound = head.epoch <= locked(router.directory.epoch) || refresh(connection, watch)
    discard(locked {
      val route = ticket.route
      if (route != null) route.load = head.load
      if (!leave(ticket)) Nil // another thread has released it meanwhile
      else if (isSound && router.routes.get(route.endpoint).contains(route)) {
        connection.idleSince = System.nanoTime
        route.idle += connection
        Nil
      } else Seq(connection)
    })
  }

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
      learn(connection)
      true
    } catch { case _: IOException | _: ModelException => false } // the answer is here: it must not be lost for this

  /** No known worker answers: ask the master, then the workers again, for the newest endpoints. */
  private def relocate(started: Long, readyTimeoutS: Double, watch: Watch): Unit = {
    var refused: ModelException = null
    var failed: IOException = null
    def ask(endpoint: Endpoint): Option[Directory] =
      try {
        val connection = Connection(endpoint, ref.name, credential, tls, watch)
        connection.close()
        learn(connection)
        Some(connection.directory)
      } catch {
        case e: IOException => failed = e; None
        case e: ModelException if e.condition == "AUTHENTICATION_FAILED" => refused = e; None
      }
    val known = locked(pool.master +: router.directory.endpoints)
    val directory = known.iterator.map(ask).collectFirst { case Some(found) => found }
    val waitedS = (System.nanoTime - started) / 1e9
    if (directory.isEmpty && refused != null) throw gone("another pool has its address now", refused)
    if (directory.isEmpty && waitedS > goneS) throw gone("neither its master nor a worker answers", failed)
    if (directory.exists(_.state == "stopped")) throw gone("it was dropped")
    if (waitedS > readyTimeoutS) throw gone(f"no worker came back within $waitedS%.0f s", failed)
  }

  private def gone(fact: String, cause: Throwable = null): ModelException =
    new ModelException(
      "POOL_GONE", what, s"the pool is gone: $fact", "register the model again with sm.register", cause = cause)

  private def pause(ticket: Ticket, watch: Watch): Unit = {
    ticket.waits += 1
    val highNs = math.min(BackoffNs._2, BackoffNs._1 << math.min(ticket.waits, 10))
    val nanos = ThreadLocalRandom.current.nextLong(BackoffNs._1, highNs)
    budget(ticket)
    val leftNs = ticket.deadlineNs.fold(nanos)(deadline => math.min(nanos, deadline - System.nanoTime))
    Patience.sleep(leftNs, watch)
  }

  /** Milliseconds left until the deadline, 0 without one. */
  private def budget(ticket: Ticket): Long = ticket.deadlineNs.fold(0L) { deadline =>
    val left = deadline - System.nanoTime
    if (left > 0) math.max(1, left / 1000000)
    else if (ticket.waits > 0) {
      throw new ModelException(
        "POOL_BUSY",
        what,
        "all workers were busy or being replaced until the deadline",
        "add workers, or raise timeout_s")
    } else {
      throw new ModelException(
        "DEADLINE_EXCEEDED", what, "no answer came within the deadline", "raise timeout_s, or add workers")
    }
  }

  private def patienceFor(ticket: Ticket, watch: Watch) = new Patience(watch, silenceNs(ticket), ticket.deadlineNs)

  private def silenceNs(ticket: Ticket): Long = ((ticket.limits.timeoutS + silenceS) * 1e9).toLong

  private def discard(connections: Seq[Connection]): Unit = connections.foreach { connection =>
    opened.decrementAndGet()
    connection.close()
  }

  private def locked[T](body: => T): T = router.synchronized(body)
}

object PoolClient {
  private val BackoffNs = (5000000L, 500000000L)
  private val Elsewhere = Set("WORKER_STOPPING", "AUTHENTICATION_FAILED")

  private[wire] def what(name: String): String = s"Cannot score with '$name'"

  /**
   * This JVM's client of a pool: one for all tasks, so that connections outlive batches and tasks. All handles of the
   * pool share it, whatever else they say; but a token opens no connection of another's.
   */
  def of(handle: Handle): PoolClient = Clients.of(handle)
}
