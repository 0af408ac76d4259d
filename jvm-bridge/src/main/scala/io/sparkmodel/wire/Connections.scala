// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.io.IOException
import java.util.concurrent.CancellationException
import java.util.concurrent.atomic.AtomicInteger

/**
 * A client's connections to workers: those that a batch has, and those that lie idle. Safe for many threads.
 *
 * @param connect makes a new one
 */
private[wire] final class Connections(
    name: String, router: Router, connect: (Endpoint, Search, Watch) => Connection) {
  private val opened = new AtomicInteger()

  /** Connections, both idle and with a batch under way. */
  def size: Int = opened.get

  /** Take a directory, if it is newer. */
  def learn(directory: Directory): Unit = discard(locked(router.update(directory)))

  /** Give a batch a connection to its worker: an idle one, of the same stream if there is one, or a new one. */
  def take(ticket: Ticket, watch: Watch): Connection = {
    val route = ticket.route
    var found = idle(route, ticket.stream)
    while (found.exists(_.isStale)) {
      discard(found.toSeq)
      found = idle(route, ticket.stream)
    }
    val connection = found.getOrElse(made(route.endpoint, ticket.search, watch))
    try locked {
      check(ticket)
      ticket.connection = connection
    } catch {
      case e: CancellationException =>
        discard(Seq(connection))
        throw e
    }
    connection
  }

  /** Note that a batch has left. */
  def sent(ticket: Ticket): Unit = locked {
    check(ticket)
    ticket.isSent = true
    ticket.holder = this
    ticket.caller.sent.add(ticket)
  }

  /** Leave a batch for later, and take it off the wire if it is there: it is sent when its answer is collected. */
  def postpone(ticket: Ticket): Unit = {
    end(ticket)
    locked(if (!ticket.isGivenUp) {
      ticket.isLeft = true
      ticket.caller.left.incrementAndGet()
    })
  }

  /** Throw if nobody wants a batch's answer any more. The caller holds the lock. */
  def check(ticket: Ticket): Unit =
    if (ticket.isGivenUp) throw new CancellationException(s"${PoolClient.what(name)}: the batch was released")

  /** End a batch's stay at a worker that has answered; the connection is kept for the next one. */
  def keep(ticket: Ticket, connection: Connection, head: Head, watch: Watch): Unit = {
    val isSound = head.revision <= locked(router.directory.revision) || refresh(connection, watch)
    locked(if (ticket.route != null) router.learn(ticket.route, head))
    giveBack(ticket, connection, isSound)
  }

  /** End a batch's stay at a worker, and put the connection aside if it is in order. */
  def giveBack(ticket: Ticket, connection: Connection, isSound: Boolean): Unit = discard(locked {
    val route = ticket.route
    if (!leave(ticket)) Nil // another thread has released it meanwhile
    else if (isSound && router.routes.get(route.endpoint).contains(route)) {
      connection.idleSince = System.nanoTime
      route.idle += connection
      Nil
    } else Seq(connection)
  })

  /** End a batch's stay at a worker, if it has one, and close the connection. */
  def end(ticket: Ticket, avoid: Boolean = false, isSilent: Boolean = false): Unit = {
    val drop = locked {
      val (route, connection) = (ticket.route, ticket.connection)
      val idle = if (avoid && route != null && !ticket.isReleased) router.avoid(route, isSilent) else Nil
      leave(ticket)
      idle ++ Option(connection)
    }
    discard(drop)
  }

  /** Take the newest directory from a worker; whether its connection is still in order. */
  def refresh(connection: Connection, watch: Watch): Boolean =
    try {
      connection.locate(Connection.patience(watch))
      learn(connection.directory)
      true
    } catch { case _: IOException | _: ModelException => false } // the answer is here: it must not be lost for this

  /** Close the idle ones. */
  def close(): Unit = discard(locked(router.routes.values.toSeq.flatMap(router.takeIdle)))

  /** Close those that have lain idle since a time of System.nanoTime. */
  def closeIdleSince(timeNs: Long): Unit = discard(locked {
    router.routes.values.toSeq.flatMap { route =>
      val (old, kept) = route.idle.toSeq.partition(_.idleSince - timeNs < 0)
      route.idle.clear()
      route.idle ++= kept
      old
    }
  })

  private def made(endpoint: Endpoint, search: Search, watch: Watch): Connection = {
    val made = connect(endpoint, search, watch)
    opened.incrementAndGet()
    search.hear()
    learn(made.directory)
    made
  }

  private def idle(route: Route, stream: StreamKey): Option[Connection] = locked {
    if (route.idle.isEmpty) None
    else {
      val same = route.idle.lastIndexWhere(_.stream == stream)
      Some(route.idle.remove(if (same < 0) route.idle.size - 1 else same))
    }
  }

  /** Take a batch from its worker; whether it was there. The caller holds the lock. */
  private def leave(ticket: Ticket): Boolean = {
    val wasThere = ticket.route != null
    if (wasThere) ticket.route.inFlight -= 1
    if (ticket.isSent) ticket.caller.sent.remove(ticket)
    ticket.route = null
    ticket.connection = null
    ticket.isSent = false
    wasThere
  }

  private def discard(connections: Seq[Connection]): Unit = connections.foreach { connection =>
    opened.decrementAndGet()
    connection.close()
  }

  private def locked[T](body: => T): T = router.synchronized(body)
}
