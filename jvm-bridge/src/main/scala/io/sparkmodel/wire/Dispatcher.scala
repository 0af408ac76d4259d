// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.io.IOException
import java.net.SocketTimeoutException

/** Puts batches on the wire: chooses a worker, connects, opens the stream, asks leave for a long batch, sends it. */
private[wire] final class Dispatcher(
    what: String,
    connections: Connections,
    router: Router,
    locator: Locator,
    verdicts: Verdicts,
    times: Times,
    inForce: Limits => Limits,
    isTolerant: Ticket => Boolean) {
  import Dispatcher._

  /** Put a new batch on the wire, unless there is no room for it and its caller has answers to take first. */
  def first(ticket: Ticket, watch: Watch): Unit = {
    val caller = ticket.caller
    val isSent = caller.left.get == 0 && {
      ticket.search.restart()
      attempt(ticket, watch, waits = caller.sent.isEmpty)
    }
    if (!isSent) connections.postpone(ticket)
  }

  /** A batch that was left is not any more. */
  def take(ticket: Ticket): Unit = router.synchronized(if (ticket.isLeft) {
    ticket.isLeft = false
    ticket.caller.left.decrementAndGet()
  })

  /** Put a batch on the wire to some worker; returns when it has left. */
  def dispatch(ticket: Ticket, watch: Watch): Unit = {
    ticket.search.restart()
    while (!attempt(ticket, watch, waits = ticket.caller.sent.isEmpty)) {
      // answers that are here and not taken yet may be what holds the room: those batches come again in their turn
      ticket.caller.sent.forEach(other => if (other.isAnswered(ifLost = false)) other.holder.postpone(other))
      ticket.waiting(ticket.search.pause(watch))
    }
  }

  /** Whether the batch has left; if it is not to wait, there may be no room for it. */
  private def attempt(ticket: Ticket, watch: Watch, waits: Boolean): Boolean = {
    var isOver = false
    while (!isOver) isOver = step(ticket, watch, waits)
    ticket.isSent
  }

  /** One attempt; false if there has to be another. */
  private def step(ticket: Ticket, watch: Watch, waits: Boolean): Boolean = {
    ticket.search.budgetMs()
    val route = router.synchronized {
      connections.check(ticket)
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
    } else send(ticket, route, watch, waits)
  }

  private def send(ticket: Ticket, route: Route, watch: Watch, waits: Boolean): Boolean = {
    var connection: Connection = null
    try {
      val verdict = verdictOn(ticket)
      // where rows at fault are no error it is a matter of more calls, and of what their stream is answered with
      if (verdict.exists(_ => !isTolerant(ticket))) throw new Poisoned(verdict.get.condition, verdict.get.fact)
      connection = connections.take(ticket, watch)
      if (thinksAgain(ticket, route, connection, watch)) {
        connections.giveBack(ticket, connection, isSound = true)
        false
      } else {
        val patience = times.patience(ticket, inForce(ticket.limits), watch)
        connection.open(ticket.stream, patience)
        ticket.opened = connection.opened
        ticket.losses.givenTo(connection.opened.version)
        verdict.foreach(found => throw new Poisoned(found.condition, found.fact))
        connection.send(ticket, waits, patience)
        connections.sent(ticket)
        true
      }
    } catch {
      case _: SocketTimeoutException if ticket.search.isOver => // which is no word against the worker
        connections.end(ticket)
        false
      case e: IOException => // it was not scored: no retry is counted, but
        val isLost = connection != null && !e.isInstanceOf[SocketTimeoutException]
        leaveAlone(ticket, route)
        val isReceipt = isLost && (connection.isSending || connection.isOpening && isOfSchema(ticket, connection, watch))
        if (isReceipt) countReceipt(ticket, e)
        false
      // another pool's worker has this port now, or this one is about to end
      case e: ModelException if Elsewhere(e.condition) =>
        leaveAlone(ticket, route)
        false
      case e: ModelException if e.condition == "WRONG_VERSION" => // it is another's, and knows whose the right one is
        ticket.search.failed += route.endpoint
        ticket.version = None
        connections.giveBack(ticket, connection, connections.refresh(connection, watch))
        false
      case e: Poisoned =>
        if (connection == null) connections.end(ticket) else connections.giveBack(ticket, connection, isSound = true)
        throw e
      case e: ModelException if e.condition == "POOL_BUSY" => // full queues: hold the caller back, do not fail it
        connections.giveBack(ticket, connection, isSound = true)
        if (waits) ticket.waiting(ticket.search.pause(watch))
        !waits
      case e: Throwable =>
        connections.end(ticket)
        throw e
    }
  }

  /**
   * Hear how quick a worker is of which nothing is known; whether to choose again with that.
   *
   * A greeting tells it anyway. On a kept connection it is asked where it was slow before: it may be no more, and another
   * client may have found out.
   */
  private def thinksAgain(ticket: Ticket, route: Route, connection: Connection, watch: Watch): Boolean = {
    val search = ticket.search
    val mayAsk = search.doubts && search.asked.sizeIs < Router.MostAsked
    if (connection.isHeard && mayAsk && router.synchronized(route.isWorthAsking)) {
      try connection.locate(Connection.patience(watch, search.deadlineNs))
      catch {
        case e: ModelException if e.condition == "PROTOCOL_ERROR" => // as one that is lost
          throw new IOException(s"$connection says what cannot be read: ${e.getMessage}", e)
      }
      connections.learn(connection.directory)
    }
    !connection.isHeard && {
      connection.isHeard = true
      val isWorthIt = router.synchronized(router.hear(route, connection)) && mayAsk
      if (isWorthIt) search.asked += route.endpoint
      isWorthIt
    }
  }

  /** The worker for a batch, None if somebody has to be asked. The caller holds the lock. */
  private def routeFor(ticket: Ticket): Option[Route] = {
    val search = ticket.search
    search.doubts = false
    def pick(version: Int) =
      if (ticket.losses.isSuspect) router.pickForSuspects(version, search.failed)
      else {
        val found = router.pick(version, search.failed, search.asked)
        search.doubts = found.exists(router.isDoubtful(_, version, search.failed))
        found
      }
    def again = {
      ticket.version = router.choose(ticket.stream.digest, search.failed)
      ticket.version.flatMap(pick)
    }
    // each that does not answer costs seconds: the master may know by now that they are dead
    if (search.failed.nonEmpty && search.silentS > times.goneS) None
    else if (ticket.stream.pin.isDefined) ticket.stream.pin.flatMap(pick)
    else ticket.version.flatMap(pick).orElse(again)
  }

  private def verdictOn(ticket: Ticket): Option[Verdict] = {
    val version = ticket.stream.pin.orElse(ticket.version).get
    verdicts.on(ticket, version, router.synchronized(router.directory.condemned))
  }

  /** A batch's worker cannot be reached: it goes to another one. */
  private def leaveAlone(ticket: Ticket, route: Route): Unit = {
    ticket.search.failed += route.endpoint
    connections.end(ticket, avoid = true)
  }

  /** Whether a worker ended as it read the schema of a batch; not if it had ended before, or for another reason. */
  private def isOfSchema(ticket: Ticket, connection: Connection, watch: Watch): Boolean = {
    ticket.stream.pin.orElse(ticket.version).foreach(ticket.losses.givenTo)
    val told = ticket.waiting(locator.fate(connection.endpoint, connection.session, OfOpen, ticket.search, watch))
    told.fate == "received"
  }

  private def countReceipt(ticket: Ticket, error: IOException): Unit =
    ticket.losses.onReceipt(inForce(ticket.limits).maxRetries, error.getMessage) match {
      case Next.GiveUp(fact, hint) => throw new ModelException("WORKER_LOST", what, fact, hint, cause = error)
      case _ =>
    }
}

private[wire] object Dispatcher {
  private val OfOpen = 0 // the number of a request that is no batch
  private val Elsewhere = Set("WORKER_STOPPING", "AUTHENTICATION_FAILED")
}
