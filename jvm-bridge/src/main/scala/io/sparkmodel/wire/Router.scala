// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.net.{InetAddress, NetworkInterface, SocketException}
import java.util.concurrent.ThreadLocalRandom

import scala.collection.mutable

import com.google.common.net.InetAddresses

/** One endpoint as this process sees it. `load` is the worker's own count in its last answer. */
private[wire] final class Route(val endpoint: Endpoint, val isLocal: Boolean) {
  var inFlight = 0
  var load = 0L
  var failedAtNs: Option[Long] = None
  val idle = mutable.ArrayBuffer.empty[Connection]

  /** Whether it takes a batch without delay: at most one of ours is there, and nobody's waited when it answered. */
  def isFree: Boolean = inFlight < 2 && load == 0

  /** Own batches under way first: the worker's count is older. */
  def costsLessThan(other: Route): Boolean =
    if (inFlight != other.inFlight) inFlight < other.inFlight
    else if (isLocal != other.isLocal) isLocal
    else load < other.load
}

/**
 * Which version, and which of its workers, gets the next batch: the client's own choice, with no master on the way. Its
 * owner holds a lock around every call.
 *
 * As long as a worker of the version on this host is free, only those on this host are asked; else all are. Of two of
 * them at random, the one with fewer of our batches is taken, then the one on this host, then the one that was less
 * loaded when it last answered. So a model that keeps up stays near, and one that does not uses all workers.
 */
private[wire] final class Router(clock: () => Long = () => System.nanoTime, isLocal: String => Boolean = Router.isHere) {
  private val AvoidNs = 1000000000L // how long an endpoint that failed is left alone while another one works

  var directory: Directory = Directory.Unknown
  var routes: Map[Endpoint, Route] = Map.empty

  /** Take a newer directory; returns the idle connections to workers that are no longer in it. */
  def update(newer: Directory): Seq[Connection] =
    if (newer.revision <= directory.revision) Nil
    else {
      directory = newer
      val before = routes
      routes = newer.endpoints.map(e => e -> before.getOrElse(e, new Route(e, isLocal(e.host)))).toMap
      before.values.filterNot(route => routes.contains(route.endpoint)).flatMap(takeIdle).toSeq
    }

  /** The version for a call that is held to none, by weight; None if none that answers its plan has a worker. */
  def choose(digest: String, except: Endpoint => Boolean = _ => false): Option[Int] = {
    val open = directory.served.filter { served =>
      served.weight > 0 && served.takes(digest) && usable(served.version, except).nonEmpty
    }
    if (open.sizeIs <= 1) open.headOption.map(_.version)
    else {
      val at = ThreadLocalRandom.current.nextDouble(open.map(_.weight).sum)
      val upTo = open.scanLeft(0.0)(_ + _.weight).tail
      Some(open.zip(upTo).collectFirst { case (served, end) if at < end => served }.getOrElse(open.last).version)
    }
  }

  /** The worker of a version for the next batch, None if none works. */
  def pick(version: Int, except: Endpoint => Boolean = _ => false): Option[Route] = {
    val found = usable(version, except)
    lessLoadedOfTwo(if (found.exists(r => r.isLocal && r.isFree)) found.filter(_.isLocal) else found)
  }

  private def usable(version: Int, except: Endpoint => Boolean): IndexedSeq[Route] = {
    val now = clock()
    directory.endpointsOf(version).iterator.filterNot(except).flatMap(routes.get)
      .filter(_.failedAtNs.forall(now - _ > AvoidNs)).toIndexedSeq
  }

  /** Leave an endpoint alone for a while; returns its idle connections, which lead to the same dead end. */
  def avoid(route: Route): Seq[Connection] = {
    route.failedAtNs = Some(clock())
    takeIdle(route)
  }

  /** Take all idle connections of a worker. */
  def takeIdle(route: Route): Seq[Connection] = {
    val taken = route.idle.toSeq
    route.idle.clear()
    taken
  }

  private def lessLoadedOfTwo(usable: IndexedSeq[Route]): Option[Route] =
    if (usable.sizeIs <= 1) usable.headOption
    else {
      val random = ThreadLocalRandom.current
      val i = random.nextInt(usable.size)
      val j = (i + 1 + random.nextInt(usable.size - 1)) % usable.size
      Some(if (usable(j).costsLessThan(usable(i))) usable(j) else usable(i))
    }
}

private[wire] object Router {

  /** Whether a numeric address is one of this machine's; a name is not looked up for it. */
  def isHere(host: String): Boolean =
    host == "localhost" || InetAddresses.isInetAddress(host) && isHere(InetAddresses.forString(host))

  private def isHere(address: InetAddress): Boolean =
    address.isLoopbackAddress ||
      (try NetworkInterface.getByInetAddress(address) != null
      catch { case _: SocketException => false })
}
