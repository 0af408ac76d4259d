// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.util.LinkedHashMap
import java.util.Map.Entry
import java.util.concurrent.{CompletableFuture, ExecutionException, TimeoutException, TimeUnit}

import scala.annotation.tailrec

/** The versions that queries are held to, as the master has settled them: each is asked for once. */
private[wire] final class Pins {
  import Pins._

  private val known = new LinkedHashMap[(String, String), CompletableFuture[Int]](16, 0.75f, true) {
    override def removeEldestEntry(eldest: Entry[(String, String), CompletableFuture[Int]]): Boolean = size > Kept
  }

  /** The version of a query for plans of one digest; `ask` is called by the first who wants to know. */
  @tailrec
  def of(query: String, digest: String, search: Search, watch: Watch)(ask: () => Int): Int = {
    val mine = new CompletableFuture[Int]
    val other = synchronized(Option(known.putIfAbsent((query, digest), mine)))
    if (other.isEmpty) settle((query, digest), mine, ask)
    else result(other.get, search, watch) match {
      case Right(version) => version
      case Left(error: ModelException) if !Own(error.condition) => throw error
      case _ => of(query, digest, search, watch)(ask) // it gave up, which is no reason for others
    }
  }

  private def settle(key: (String, String), mine: CompletableFuture[Int], ask: () => Int): Int =
    try {
      val version = ask()
      mine.complete(version)
      version
    } catch {
      case error: Throwable =>
        synchronized(known.remove(key, mine))
        mine.completeExceptionally(error)
        throw error
    }

  private def result(other: CompletableFuture[Int], search: Search, watch: Watch): Either[Throwable, Int] = {
    var found: Option[Either[Throwable, Int]] = None
    while (found.isEmpty) {
      search.budgetMs()
      Patience.look(watch)
      try found = Some(Right(other.get(Patience.SliceMs, TimeUnit.MILLISECONDS)))
      catch {
        case _: TimeoutException => ()
        case error: ExecutionException => found = Some(Left(error.getCause))
        case _: InterruptedException => Thread.currentThread.interrupt() // for the look at the watch
      }
    }
    found.get
  }
}

private[wire] object Pins {
  private val Kept = 1000
  private val Own = Set("DEADLINE_EXCEEDED", "POOL_BUSY", "POOL_NOT_READY") // of one caller's deadline
}
