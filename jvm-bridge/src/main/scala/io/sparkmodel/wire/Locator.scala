// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.io.IOException
import java.net.ConnectException
import java.util.concurrent.locks.ReentrantLock
import java.util.concurrent.{Semaphore, TimeUnit}

import javax.net.ssl.SSLContext

import scala.util.Random

/**
 * Asks a pool's master, and its workers where it does not answer, which version serves whom, and where.
 *
 * @param goneS how long nobody of the pool may answer before it counts as gone
 * @param take takes a directory that was told, if it is newer than what is known
 */
private[wire] final class Locator(
    ref: PoolRef,
    credential: Credential,
    tls: Option[SSLContext],
    router: Router,
    goneS: Double,
    take: Directory => Unit) {
  import Locator._

  private val what = PoolClient.what(ref.name)
  private var pool = ref
  @volatile private var shown = credential
  private val renewing = new ReentrantLock()
  private val asking = new Semaphore(Asking)
  @volatile private var restUntilNs: Option[Long] = None

  /** Take the way to the pool from a handle, where it is newer than what is known. */
  def learn(newer: PoolRef): Unit = {
    router.synchronized(if (newer.directory.revision > pool.directory.revision) pool = newer)
    take(newer.directory)
  }

  /** A new connection; a master renews what is shown, if it has expired. */
  def connect(endpoint: Endpoint, search: Search, watch: Watch): Connection =
    connect(endpoint, search, Connection.patience(watch, search.deadlineNs))

  private def connect(endpoint: Endpoint, search: Search, patience: Patience): Connection = {
    val mine = shown
    try greeted(endpoint, mine, patience)
    catch {
      case e: ModelException if e.condition == "CREDENTIAL_EXPIRED" && !masters.contains(endpoint) =>
        renew(mine, search, patience)
        greeted(endpoint, shown, patience)
    }
  }

  private def greeted(endpoint: Endpoint, mine: Credential, patience: Patience): Connection = {
    val connection = Connection(endpoint, ref.name, mine, tls, patience)
    connection.renewed.foreach(shown = _)
    connection
  }

  private def renew(mine: Credential, search: Search, patience: Patience): Unit = {
    renewing.lockInterruptibly()
    try {
      def isRenewed = shown ne mine // by another thread, maybe
      masters.iterator.takeWhile(_ => !isRenewed).foreach { master =>
        try greeted(master, mine, patience).close()
        catch {
          case error: IOException => search.failure = error
          case error: ModelException if Elsewhere(error.condition) => search.failure = error
        }
      }
      if (!isRenewed) throw new ConnectException("what is shown has expired, and no master answers who could renew it")
    } finally renewing.unlock()
  }

  /** The newest one first, then the handle's, whose successor may have its port. */
  private def masters: Seq[Endpoint] = router.synchronized((router.directory.master ++ Seq(pool.master)).toSeq.distinct)

  /** The version that a query is held to, which the master settles; it is started if it has no workers. */
  def pin(query: String, digest: String, search: Search, limits: () => Limits, watch: Watch): Int = {
    var version = round(query, digest, search, limits, watch)
    while (version.isEmpty) {
      check(search, limits, "its master settled no version")
      search.pause(watch)
      version = round(query, digest, search, limits, watch)
    }
    version.get
  }

  /** Have the master wake or heal the pool for a batch that no known worker takes; returns what version it names. */
  def find(stream: StreamKey, search: Search, limits: () => Limits, watch: Watch): Option[Int] = {
    val query = stream.call.query
    val version = round(query, stream.digest, search, limits, watch)
    for (pinned <- stream.pin; other <- version if query.nonEmpty && other != pinned) throw retired(pinned, other)
    check(search, limits, "no worker came back")
    search.failed.clear()
    version
  }

  /** What the master knows of a batch at a worker that was lost, or does not say that it lives. */
  def fate(worker: Endpoint, session: Long, seq: Long, search: Search, watch: Watch): Fate =
    if (session == 0) Fate.Unknown // it has not said its number
    else ask(search, watch)(_.fate(worker, session, seq, _)).getOrElse(Fate.Unknown)

  /** Have the master tell all callers of a batch that ends its workers; who does not hear of it finds out. */
  def condemn(verdict: Verdict, search: Search, watch: Watch): Unit = ask(search, watch)(_.condemn(verdict, _))

  /** Ask a master what it can answer soon; None if none does. */
  private def ask[T](search: Search, watch: Watch)(question: (Connection, Patience) => T): Option[T] = {
    val lastNs = System.nanoTime + AskNs
    val untilNs = search.deadlineNs.fold(lastNs)(deadline => if (deadline - lastNs < 0) deadline else lastNs)
    if (restUntilNs.exists(_ - System.nanoTime > 0) || !mayAsk(untilNs, watch)) None
    else
      try {
        val patience = Connection.patience(watch, Some(untilNs))
        val answer = masters.iterator.takeWhile(_ => untilNs - System.nanoTime > 0).flatMap { endpoint =>
          try visit(endpoint, search, patience) { connection =>
            val answer = question(connection, patience)
            take(connection.directory)
            answer
          } catch { case _: ModelException => None } // a worker has its port, or it cannot tell
        }.nextOption()
        val isOver = untilNs - System.nanoTime <= 0 // then a master may only be slow
        restUntilNs = Option.when(answer.isEmpty && !isOver)(System.nanoTime + RestNs)
        answer
      } finally asking.release()
  }

  /** Whether it is a caller's turn to ask: all who lost a worker do at the same time. */
  private def mayAsk(untilNs: Long, watch: Watch): Boolean = {
    var isTurn = false
    while (!isTurn && untilNs - System.nanoTime > 0) {
      Patience.look(watch)
      isTurn = asking.tryAcquire(Patience.SliceMs, TimeUnit.MILLISECONDS)
    }
    isTurn
  }

  /** Ask the masters that are known, and the workers, who know the next one, if they do not answer. */
  private def round(query: String, digest: String, search: Search, limits: () => Limits, watch: Watch): Option[Int] = {
    val begunNs = System.nanoTime
    search.failure = null
    val workers = router.synchronized(router.directory.endpoints)
    def first[T](endpoints: Seq[Endpoint])(talk: Connection => T): Option[T] = endpoints.iterator
      .takeWhile(_ => !isStopped && System.nanoTime - begunNs < goneS * 1e9)
      .flatMap(visit(_, search, Connection.patience(watch, search.deadlineNs))(talk))
      .nextOption()
    val version = first(masters)(named(_, query, digest, search, limits, watch))
    if (version.isEmpty) first(Random.shuffle(workers.filterNot(search.failed)))(_ => ())
    if (isStopped) throw gone("it was dropped")
    if (!search.hasHeardSince(begunNs)) search.failure match {
      case refusal: ModelException => throw gone("another pool has its address now", refusal)
      case failure if search.silentS > goneS => throw gone("neither its master nor a worker answers", failure)
      case _ =>
    }
    version.flatten
  }

  /** Greet somebody, and learn its directory; None if it does not answer, or not for this pool. */
  private def visit[T](endpoint: Endpoint, search: Search, patience: Patience)(talk: Connection => T): Option[T] =
    try {
      val connection = connect(endpoint, search, patience)
      try {
        search.hear()
        take(connection.directory)
        Some(talk(connection))
      } finally connection.close()
    } catch {
      case error: IOException =>
        if (!search.failure.isInstanceOf[ModelException]) search.failure = error // a refusal says more
        None
      case error: ModelException if Elsewhere(error.condition) => search.failure = error; None
    }

  /** Ask a master for a version; the directory that comes with it is learnt. */
  private def named(
      connection: Connection,
      query: String,
      digest: String,
      search: Search,
      limits: () => Limits,
      watch: Watch): Option[Int] = if (isStopped) None else {
    val leftMs = math.max(1, ((limits().readyTimeoutS - search.waitedS) * 1000).toLong)
    val budgetMs = search.deadlineNs.fold(leftMs)(_ => search.budgetMs())
    // a little longer than the master has, so that its own words come through
    val patience = Connection.patience(watch, search.deadlineNs.map(_ + GraceNs))
    try {
      val version = connection.pin(query, digest, budgetMs, patience)
      search.hear()
      take(connection.directory)
      Some(version)
    } catch { case error: ModelException if Later(error.condition) => search.failure = error; None }
  }

  private def check(search: Search, limits: () => Limits, fact: String): Unit =
    if (search.waitedS > limits().readyTimeoutS) throw gone(f"$fact within ${search.waitedS}%.0f s", search.failure)

  private def isStopped: Boolean = router.synchronized(router.directory.state == "stopped")

  private def gone(fact: String, cause: Throwable = null): ModelException =
    new ModelException(
      "POOL_GONE", what, s"the pool is gone: $fact", "register the model again with sm.register", cause = cause)

  private def retired(pinned: Int, other: Int): ModelException =
    new ModelException(
      "VERSION_RETIRED",
      what,
      s"the query is held to version $pinned, which has ended: its master names version $other",
      "run the query again")
}

private[wire] object Locator {
  private val GraceNs = 500000000L
  private val AskNs = 5000000000L // a master waits up to 4 s for the news of an end
  private val Asking = 16 // callers that ask at the same time
  private val RestNs = 1000000000L // how long no master is asked again after none has answered
  private val Later = Set("POOL_BUSY", "WORKER_STOPPING")
  private val Elsewhere = Set("AUTHENTICATION_FAILED", "POOL_GONE") // gone: a worker has the port that was a master's
}
