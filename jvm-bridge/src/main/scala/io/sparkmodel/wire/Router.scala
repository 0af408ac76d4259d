// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.net.{InetAddress, NetworkInterface, SocketException}
import java.util.concurrent.ThreadLocalRandom

import scala.collection.mutable

import com.google.common.net.InetAddresses

/** One endpoint as this process sees it. `load` is the worker's own count in its last answer. */
private[wire] final class Route(val endpoint: Endpoint, val isLocal: Boolean) {
  import Route._

  var inFlight = 0
  var load = 0L
  var avoidUntilNs: Option[Long] = None
  val idle = mutable.ArrayBuffer.empty[Connection]

  private var seconds: Option[Double] = None // that a batch is in its model, by the last ones
  private var learnedNs = 0L
  private var isTold = false // it is only what the worker says
  private var heardNs = 0L // when its load was told last
  private var silences = 0 // times in a row that it was left because it said nothing

  /** Learn of an answer, and how long its batch was in the model, if it was. */
  def learn(newLoad: Long, inModelS: Option[Double], nowNs: Long): Unit = {
    load = newLoad
    heardNs = nowNs
    silences = 0
    inModelS.foreach { inModel =>
      val known = seconds.filterNot(_ => isOld(nowNs))
      val newest = known.fold(inModel)(batch => math.min(inModel, MostTimes * batch))
      val before = known.filterNot(_ => isTold).getOrElse(newest)
      seconds = Some(Newest * newest + (1 - Newest) * before)
      learnedNs = nowNs
      isTold = false
    }
  }

  /**
   * Take what the worker tells of itself: how many batches are there, and its speed where that is new. What was seen here
   * counts more, since others' batches may be of another size. Returns whether it is so slow, or has so much to do, that
   * another one may be better.
   */
  def hear(newLoad: Long, told: Option[Told], nowNs: Long): Boolean = {
    load = newLoad
    heardNs = nowNs
    told.foreach { said =>
      val atNs = nowNs - (said.ageS * 1e9).toLong
      if (seconds.isEmpty || (atNs - learnedNs > 0 && isOld(nowNs))) {
        seconds = Some(said.seconds)
        learnedNs = atNs
        isTold = true
      }
    }
    load > 0 || isWorthAsking && !isOld(nowNs)
  }

  /** Seconds that a batch was in its model, however long ago, if that is less. */
  def atMost(other: Double): Double = seconds.fold(other)(math.min(other, _))

  /** Whether its load was told long enough ago for others to have sent something. */
  def isUnheard(nowNs: Long): Boolean = (nowNs - heardNs) / 1e9 > WorthS

  /** Whether it was so slow, as far as is known, that a question costs less than a batch that is late. */
  def isWorthAsking: Boolean = seconds.exists(_ >= WorthS)

  /** Seconds that a batch is in its model, None where nothing is known, or nothing new. */
  def known(nowNs: Long): Option[Double] =
    seconds.filterNot(_ => inFlight == 0 && isOld(nowNs)) // one batch is enough to learn anew

  private def isOld(nowNs: Long) = seconds.forall(batch => (nowNs - learnedNs) / 1e9 > math.max(OldS, OldTimes * batch))

  /**
   * Seconds until the next batch is answered, if one is so long in the model. What others had there is worked off since it
   * was told: a worker that was busy once would not be looked at again.
   */
  def cost(batch: Double, nowNs: Long): Double = {
    val workedOff = (nowNs - heardNs) / 1e9 / math.max(batch, WorthS)
    (inFlight + 1 + math.max(0.0, load - inFlight - workedOff)) * math.max(batch, LeastS)
  }

  /** Whether it is not to be left alone now. */
  def works(nowNs: Long): Boolean = avoidUntilNs.forall(nowNs - _ >= 0)

  /**
   * Leave it alone from now on: what was known of it is forgotten. One that is silent each time, longer each time.
   *
   * @param hasOther whether another one works
   */
  def avoid(nowNs: Long, isSilent: Boolean, hasOther: => Boolean): Unit = {
    var pauseNs = AvoidNs
    if (isSilent && works(nowNs)) { // else it is another batch that was there with the one of before
      if (hasOther) pauseNs = math.min(AvoidNs << math.min(silences, MostDoublings), AvoidMostNs)
      silences += 1
    }
    val untilNs = nowNs + pauseNs
    avoidUntilNs = Some(avoidUntilNs.filter(_ - untilNs > 0).getOrElse(untilNs))
    load = 0
    seconds = None
  }
}

private[wire] object Route {
  private val AvoidNs = 1000000000L // how long an endpoint that failed is left alone while another one works
  private val AvoidMostNs = 30000000000L
  private val MostDoublings = 5
  private val Newest = 0.3 // what the last batch counts in what is known of a worker's speed
  private val OldS = 1.0 // what is known of a worker that gets nothing is tried anew after so long,
  private val OldTimes = 20.0 // or after so many times its batch: one that was cold is soon used, one that is slow costs little

  private val WorthS = 0.01 // one that is quicker than this is not worth a question

  // what is known: one batch says no more than that, or a pause of the machine would be held against its worker
  private val MostTimes = 8.0

  val LeastS = 1e-4 // differences below do not matter
}

/**
 * Which version, and which of its workers, gets the next batch: the client's own choice, with no master on the way. Its
 * owner holds a lock around every call.
 *
 * Of the workers, the one is taken whose answer is expected first: by how long it has a batch in its model, and by how
 * many are before. So a slow worker gets as much as it can do, and not half of the work. One on this host is taken for as
 * long as it is expected in no more than twice the time. One of which nothing is known, or nothing new, is asked before it
 * is given a batch. It is the twin of `sparkmodel/wire/router.py`.
 */
private[wire] final class Router(clock: () => Long = () => System.nanoTime, isLocal: String => Boolean = Router.isHere) {
  import Router.MostAsked

  private val LocalWorth = 2.0 // how much more one on this host may cost

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

  /**
   * The worker of a version for the next batch, None if none works.
   *
   * @param asked those that were asked for this batch how quick they are
   */
  def pick(
      version: Int,
      except: Endpoint => Boolean = _ => false,
      asked: collection.Set[Endpoint] = Set.empty): Option[Route] = {
    val found = usable(version, except)
    if (found.sizeIs < 2) found.headOption
    else {
      val now = clock()
      val known = found.map(_.known(now))
      val unknown = known.flatten.minOption.getOrElse(Route.LeastS)
      // one that was quick before counts as that: with many before it, it would be dear at the time of a slow one
      val costs = found.zip(known).map { case (route, seconds) =>
        route.cost(seconds.getOrElse(route.atMost(unknown)), now)
      }
      val best = costs.min
      val near = found.zip(costs).collect { case (route, cost) if route.isLocal && cost <= LocalWorth * best => cost }
      val wanted = near.minOption.getOrElse(best)
      val isNew = found.zip(known).collect { case (route, None) => route }.toSet
      def others = found.zip(costs).collect {
        case (route, cost) if cost <= wanted && isNew(route) && !asked(route.endpoint) => route
      }
      val ties = found.zip(costs).collect {
        case (route, cost) if cost == wanted && (route.isLocal || near.isEmpty) => route
      }
      // what one of them said is worth a look at another one
      val more = if (asked.nonEmpty && asked.size < MostAsked) others else IndexedSeq.empty
      // one that was asked, else one that is not known: where only a slow one is known, it counts as that one
      val first = Seq(more, ties.filter(route => asked(route.endpoint)), ties.filter(isNew), ties).find(_.nonEmpty).get
      Some(if (first.sizeIs == 1) first.head else first(ThreadLocalRandom.current.nextInt(first.size)))
    }
  }

  /**
   * Whether there is another worker, and of this one nothing, or nothing new, is known.
   *
   * Of one that takes more than twice as long as another it is also how many batches are before, now: it was picked because
   * the others have many, and all who saw it free some time ago would go there at once.
   */
  def isDoubtful(route: Route, version: Int, except: Endpoint => Boolean): Boolean = {
    val now = clock()
    val others = usable(version, except).filterNot(_ eq route)
    others.nonEmpty && route.known(now).forall { batch =>
      route.isUnheard(now) && others.exists(_.atMost(batch) * 2 < batch)
    }
  }

  /** Take what a worker tells of itself; see `Route.hear`. */
  def hear(route: Route, connection: Connection): Boolean = route.hear(connection.load, connection.told, clock())

  /** The worker for batches that may end theirs, so that they all end the same one; None if none works. */
  def pickForSuspects(version: Int, except: Endpoint => Boolean = _ => false): Option[Route] =
    usable(version, except).maxByOption(route => (route.endpoint.host, route.endpoint.port))

  private def usable(version: Int, except: Endpoint => Boolean): IndexedSeq[Route] = {
    val now = clock()
    directory.endpointsOf(version).iterator.filterNot(except).flatMap(routes.get)
      .filter(_.works(now)).toIndexedSeq
  }

  /** Whether another worker of a version works. */
  def hasOther(endpoint: Endpoint, version: Int, except: Endpoint => Boolean): Boolean =
    usable(version, except).exists(_.endpoint != endpoint)

  /** Learn of an answer of a worker. */
  def learn(route: Route, head: Head): Unit =
    route.learn(head.load, Option.when(head.status == Frames.Ok)(head.predictUs / 1e6), clock())

  /** Leave an endpoint alone for a while; returns its idle connections, which lead to the same dead end. */
  def avoid(route: Route, isSilent: Boolean = false): Seq[Connection] = {
    val now = clock()
    route.avoid(now, isSilent, routes.values.exists(other => (other ne route) && other.works(now)))
    takeIdle(route)
  }

  /** Take all idle connections of a worker. */
  def takeIdle(route: Route): Seq[Connection] = {
    val taken = route.idle.toSeq
    route.idle.clear()
    taken
  }
}

private[wire] object Router {
  val MostAsked = 2 // workers that are asked how quick they are for one batch

  /** Whether a numeric address is one of this machine's; a name is not looked up for it. */
  def isHere(host: String): Boolean =
    host == "localhost" || InetAddresses.isInetAddress(host) && isHere(InetAddresses.forString(host))

  private def isHere(address: InetAddress): Boolean =
    address.isLoopbackAddress ||
      (try NetworkInterface.getByInetAddress(address) != null
      catch { case _: SocketException => false })
}
