// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.io.IOException
import java.net.SocketTimeoutException
import java.nio.ByteBuffer
import java.util.concurrent.CancellationException

import scala.util.control.NoStackTrace

/** Takes answers, and finds out what became of a batch that gets none. */
private[wire] final class Receiver(
    what: String,
    connections: Connections,
    router: Router,
    locator: Locator,
    verdicts: Verdicts,
    times: Times,
    inForce: Limits => Limits,
    isTolerant: Ticket => Boolean) {
  import Receiver._

  /**
   * Wait for the answer of the worker that has the batch; None if the batch has to be sent again.
   *
   * Throws Poisoned if it must not be, as a whole.
   */
  def receive(ticket: Ticket, watch: Watch, allocate: Int => ByteBuffer): Option[Answer] = {
    val connection = ticket.connection
    if (connection == null) throw new CancellationException(s"$what: the batch was released or collected")
    val limits = inForce(ticket.limits)
    val patience = times.patience(ticket, limits, watch, Some(doubt(ticket, connection, _, watch)))
    try {
      val head = ticket.waiting(connection.receive(patience))
      if (head.status == Frames.Ok) {
        // read before the connection is put aside: what cannot be read must not leave it in use
        val answer = connection.answer(ticket.rows, patience, allocate)
        ticket.head = head
        connections.keep(ticket, connection, head, watch)
        Some(answer)
      } else {
        val error = connection.error(patience)
        // after a timeout the connection's other end is stuck in the model, and the worker about to end
        val isEnding = error.condition == "WORKER_STOPPING" || error.condition == "PREDICT_TIMEOUT"
        if (isEnding) connections.end(ticket, avoid = true) else connections.keep(ticket, connection, head, watch)
        if (error.condition == "PREDICT_TIMEOUT" && isTolerant(ticket)) {
          throw new Poisoned(error.condition, error.fact)
        }
        if (head.status != Frames.Retry) throw error
        if (!isEnding) ticket.waiting(ticket.search.pause(watch)) // full queues: hold the caller back, do not fail it
        None
      }
    } catch {
      case left: Left => // it is silent, and may be there
        connections.end(ticket, avoid = true, isSilent = true)
        after(ticket, left.told, "it was silent", watch)
      case _: IOException if ticket.search.isOver && !ticket.isReleased => throw tooLate(ticket, connection, watch)
      case e: SocketTimeoutException =>
        connections.end(ticket, avoid = true, isSilent = true)
        after(ticket, Fate.Unknown, s"it was silent for ${times.silence(limits)} s", watch, e)
      case e: IOException =>
        connections.end(ticket, avoid = true)
        if (!ticket.isReleased) {
          after(ticket, ticket.waiting(fateOf(ticket, connection, watch)), e.getMessage, watch, e)
        }
        None
      case e: Throwable =>
        connections.end(ticket)
        throw e
    }
  }

  /** A worker does not say that it lives: its master may know more, and the batch leave it to go elsewhere. */
  private def doubt(ticket: Ticket, connection: Connection, times: Int, watch: Watch): Unit = {
    val told = fateOf(ticket, connection, watch)
    if (told.fate == "silent" || told.fate == "waiting") throw new Left(told)
    // nothing bad is known of it: once for each batch somebody else is tried, and that is no word against anybody
    val version = ticket.opened.version
    val mayLeave = told.fate != "in_model" && times > 1 && !ticket.losses.hasLeft
    if (mayLeave && router.synchronized(router.hasOther(connection.endpoint, version, _ => false))) {
      ticket.losses.hasLeft = true
      throw new Left(Fate("silent"))
    }
  }

  /**
   * The error of a batch whose deadline has passed: the model's, if a call of it took too long meanwhile. A deadline that
   * is as long as a call may take ends at the same time as the call.
   */
  private def tooLate(ticket: Ticket, connection: Connection, watch: Watch): ModelException = {
    val limits = inForce(ticket.limits)
    val last = new Search(what, Some(System.nanoTime + (LastS * 1e9).toLong))
    val mayHang = ticket.search.waitedS >= limits.timeoutS - LastS
    val told =
      if (!mayHang) Fate.Unknown
      else ticket.waiting(locator.fate(connection.endpoint, connection.session, connection.lastSeq, last, watch))
    connections.end(ticket, avoid = told.cause == "hang")
    if (told.cause != "hang") ticket.search.overdue
    else ticket.losses.judge(told.copy(fate = "in_model"), 0, "") match {
      case Next.Guilty(condition, fact) =>
        if (told.fate == "in_model") condemn(ticket, condition, fact, last, watch) // else the next try may be faster
        new Poisoned(condition, fact).error(what)
      case _ => ticket.search.overdue
    }
  }

  private def fateOf(ticket: Ticket, connection: Connection, watch: Watch): Fate =
    locator.fate(connection.endpoint, connection.session, connection.lastSeq, ticket.search, watch)

  /** What follows from a loss; nobody is asked about a batch that was given up: who sends it again sees that. */
  private def after(ticket: Ticket, told: Fate, how: String, watch: Watch, cause: Throwable = null): None.type = {
    val limits = inForce(ticket.limits)
    def follow(next: Next): Unit = next match {
      case Next.Again =>
      case Next.GiveUp(fact, hint) => throw new ModelException("WORKER_LOST", what, fact, hint, cause = cause)
      case Next.Guilty(condition, fact) =>
        condemn(ticket, condition, fact, ticket.search, watch)
        throw new Poisoned(condition, fact)
    }
    if (!ticket.isReleased) {
      follow(ticket.losses.judge(told, limits.maxRetries, how))
      val isFree = told.fate == "silent" || told.fate == "waiting"
      if (isFree && ticket.search.deadlineNs.isEmpty) {
        follow(ticket.losses.drift(System.nanoTime, limits.readyTimeoutS))
      }
    }
    None
  }

  /** Remember, and have others know, that a batch is not to be sent again. */
  private def condemn(ticket: Ticket, condition: String, fact: String, search: Search, watch: Watch): Unit = {
    val verdict = Verdict(ticket.opened.version, ticket.key, ticket.rows, ticket.bytes, condition, fact)
    verdicts.add(verdict)
    locator.condemn(verdict, search, watch)
  }
}

private[wire] object Receiver {
  private val LastS = 0.7 // beyond a deadline, for why it passed: no call outlives its own by more than a second

  /** A batch leaves a worker that may be still there. */
  private final class Left(val told: Fate) extends RuntimeException with NoStackTrace
}

/** A batch that must not be sent again as it is: what its callers are to get. */
private[wire] final class Poisoned(val condition: String, val fact: String) extends RuntimeException with NoStackTrace {
  def error(what: String): ModelException = new ModelException(condition, what, fact, Verdicts.hint(condition))
}
