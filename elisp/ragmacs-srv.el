;;; ragmacs-srv.el --- Ask your documentation, with quotes that open  -*- lexical-binding: t; -*-

;; Author: The ragmacs-srv maintainers
;; Version: 0.1.0
;; Package-Requires: ((emacs "28.1"))
;; Keywords: docs, hypermedia, tools
;; URL: https://pypi.org/project/ragmacs-srv/
;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; A client of `ragmacs', which reads documentation, keeps it searchable on
;; this machine, and answers with quotes that can be opened.
;;
;;     (keymap-global-set "C-c r" ragmacs-srv-command-map)
;;
;; Loading this file starts nothing.  The first command starts
;; `ragmacs-srv-command', which relays to the one server that every Emacs and
;; the shell share.  Its answers come while Emacs goes on: what is asked is
;; asked by `ragmacs-srv-request', with callbacks and a timeout of its own,
;; and C-g in the buffer that waits, or `ragmacs-srv-cancel', stops it.
;;
;; What the server can know is no option here: it has a configuration of its
;; own, which `ragmacs config' shows.

;;; Code:

(require 'cl-lib)
(require 'jsonrpc)
(require 'map)
(require 'subr-x)
(require 'text-property-search)

;;;; Options

(defgroup ragmacs-srv nil
  "Documentation on this machine, with answers that cite it."
  :group 'help
  :group 'hypermedia
  :prefix "ragmacs-srv-")

(defcustom ragmacs-srv-command '("ragmacs" "serve" "--stdio")
  "The program that speaks for the server, and its arguments.
With `--home' and a folder behind them, that folder is used."
  :type '(repeat string))

(defcustom ragmacs-srv-timeout 150
  "Seconds without a word from the server after which a request is given up.
An LLM on a laptop may need two minutes to read what it is given."
  :type 'number)

;;;; Connection

(defvar ragmacs-srv--connection nil
  "The connection to the server, alive or not, or nil before the first.")

(defvar ragmacs-srv--requests (make-hash-table :test #'equal)
  "What is under way: tokens, and for each its `ragmacs-srv--request'.")

(defvar ragmacs-srv--count 0
  "How many requests this Emacs has made.")

(cl-defstruct ragmacs-srv--request
  "A request under way: its functions, and the timer that gives it up."
  token method success failure on-delta on-progress timeout timer)

(defun ragmacs-srv-connected-p ()
  "Return non-nil while the program of the server is running."
  (and ragmacs-srv--connection (jsonrpc-running-p ragmacs-srv--connection)))

(defun ragmacs-srv-connection ()
  "Return the connection to the server; start its program if none is running.
Signal a `user-error' when there is no such program."
  (unless (ragmacs-srv-connected-p)
    (setq ragmacs-srv--connection (ragmacs-srv--connect))
    (when ragmacs-srv--folders
      (ragmacs-srv--name-folders)))
  ragmacs-srv--connection)

(defvar ragmacs-srv--folders nil
  "The folders whose files the server may read for this Emacs.")

(defun ragmacs-srv-open-folder (folder)
  "Let the server read the files below FOLDER for this Emacs, until that ends."
  (unless (member folder ragmacs-srv--folders)
    (push folder ragmacs-srv--folders)
    (when (ragmacs-srv-connected-p)
      (ragmacs-srv--name-folders))))

(defun ragmacs-srv--name-folders ()
  "Tell the server all folders that it may read: of two lists the newer counts.
What is asked next is taken up with the new one."
  (jsonrpc-async-request ragmacs-srv--connection :initialize
                         (list :client "emacs"
                               :roots (vconcat (seq-filter #'file-directory-p ragmacs-srv--folders)))
                         :success-fn #'ignore
                         :error-fn (lambda (error) (ragmacs-srv-show-error (ragmacs-srv--error error)))
                         :timeout nil))

(defun ragmacs-srv--connect ()
  "Start `ragmacs-srv-command' and return the connection to it."
  (unless (executable-find (car ragmacs-srv-command))
    (user-error "There is no program %s; install it (pip install ragmacs-srv) or set `ragmacs-srv-command'"
                (car ragmacs-srv-command)))
  (apply #'make-instance 'jsonrpc-process-connection
         :name "ragmacs-srv"
         :process #'ragmacs-srv--process
         :notification-dispatcher #'ragmacs-srv--dispatch
         ;; The log of all messages, off: an answer is many.
         (if (boundp 'jsonrpc-event-hook) ; since Emacs 30
             '(:events-buffer-config (:size 0))
           '(:events-buffer-scrollback-size 0))))

(defun ragmacs-srv--process ()
  "Start `ragmacs-srv-command'."
  (let ((default-directory (expand-file-name "~/"))) ; wherever it is started, it is the same
    (make-process :name "ragmacs-srv"
                  :command ragmacs-srv-command
                  :connection-type 'pipe
                  :coding 'utf-8-emacs-unix
                  :noquery t
                  ;; jsonrpc.el looks for a buffer of this name.
                  :stderr (get-buffer-create "*ragmacs-srv stderr*"))))

(defun ragmacs-srv-disconnect ()
  "Let go of the server, which serves others on."
  (when (ragmacs-srv-connected-p)
    (ignore-errors                      ; to a program that is stopped nothing can be sent
      (jsonrpc-notify ragmacs-srv--connection :exit nil)) ; jsonrpc.el kills what does not leave
    (jsonrpc-shutdown ragmacs-srv--connection))
  (setq ragmacs-srv--connection nil))

;;;; Requests

;;;###autoload
(cl-defun ragmacs-srv-request (method params &key success failure
                                      on-delta on-progress (timeout ragmacs-srv-timeout))
  "Ask the server for METHOD, a keyword, with PARAMS, a plist; return a token.

Then exactly one of two functions is called, exactly once: SUCCESS with
the result, a plist, or FAILURE with an error, a plist of `:code', `:message',
`:hint' and `:data'.  FAILURE may be called before this function returns;
without it, the error is shown in the echo area.

Meanwhile ON-DELTA is called with each piece of text that is sent ahead, and
ON-PROGRESS with each report, a plist of `:job', `:done', `:total', `:rate',
`:eta_s' and `:message'.  After TIMEOUT seconds in which nothing came, the
server is told to stop, and FAILURE is called.

The token is what `ragmacs-srv-cancel-request' takes.  This function signals
nothing."
  (let* ((token (format "%d-%d" (emacs-pid) (cl-incf ragmacs-srv--count)))
         (request (make-ragmacs-srv--request
                   :token token :method method :success (or success #'ignore)
                   :failure (or failure #'ragmacs-srv-show-error)
                   :on-delta (or on-delta #'ignore) :on-progress (or on-progress #'ignore)
                   :timeout timeout)))
    (puthash token request ragmacs-srv--requests)
    (ragmacs-srv--wind request)
    (condition-case err
        (ragmacs-srv--send request params)
      (error (accept-process-output nil 0.1) ; what the program said when it died
             (ragmacs-srv--finish token #'ragmacs-srv--request-failure
                                  (ragmacs-srv--error (list :code -1 :message (error-message-string err))))))
    token))

(defun ragmacs-srv--send (request params)
  "Send REQUEST with PARAMS."
  (let ((token (ragmacs-srv--request-token request)))
    (jsonrpc-async-request
     (ragmacs-srv-connection) (ragmacs-srv--request-method request)
     (append params (list :token token))
     :timeout nil                       ; ours, as jsonrpc.el does not tell the server
     :success-fn (lambda (result)
                   (ragmacs-srv--finish token #'ragmacs-srv--request-success result))
     :error-fn (lambda (error)
                 (ragmacs-srv--finish token #'ragmacs-srv--request-failure
                                      (ragmacs-srv--error error))))))

(defun ragmacs-srv--finish (token function value)
  "End the request TOKEN by what FUNCTION gets of it, called with VALUE."
  (when-let ((request (gethash token ragmacs-srv--requests)))
    (remhash token ragmacs-srv--requests)
    (when (timerp (ragmacs-srv--request-timer request))
      (cancel-timer (ragmacs-srv--request-timer request)))
    ;; An error that left here would keep jsonrpc.el from reading on.
    (with-demoted-errors "ragmacs: %S"
      (funcall (funcall function request) value))))

(defun ragmacs-srv--wind (request)
  "Give REQUEST its whole timeout again."
  (when (timerp (ragmacs-srv--request-timer request))
    (cancel-timer (ragmacs-srv--request-timer request)))
  (setf (ragmacs-srv--request-timer request)
        (run-at-time (ragmacs-srv--request-timeout request) nil
                     #'ragmacs-srv--give-up request)))

(defun ragmacs-srv--give-up (request)
  "End REQUEST, which took too long."
  (ragmacs-srv--stop (ragmacs-srv--request-token request)
                     (list :code -1
                           :message (format "%s: no word from the server for %s seconds"
                                            (substring (symbol-name (ragmacs-srv--request-method request)) 1)
                                            (ragmacs-srv--request-timeout request))
                           :hint "M-x ragmacs-srv-status")))

(defun ragmacs-srv-cancel-request (token)
  "Stop the request TOKEN; its FAILURE is called with the code -32800."
  (ragmacs-srv--stop token (list :code -32800 :message "cancelled")))

(defun ragmacs-srv--stop (token error)
  "Tell the server to stop the request TOKEN, which ends with ERROR."
  (when (gethash token ragmacs-srv--requests)
    (when (ragmacs-srv-connected-p)
      (ignore-errors                    ; to a program that is stopped nothing can be sent
        (jsonrpc-notify ragmacs-srv--connection :$/cancelRequest (list :token token))))
    (ragmacs-srv--finish token #'ragmacs-srv--request-failure error)))

(defun ragmacs-srv--error (error)
  "Return ERROR, as jsonrpc.el gives it, with its hint.
Why a server died, its last words may say."
  (pcase-let (((map :code :message :data) error))
    (list :code code
          :message (or message "unknown error")
          :hint (cond ((plist-get data :hint))
                      ((eql code -1) (or (ragmacs-srv--last-words) "the next command starts it again")))
          :data data)))

(defun ragmacs-srv--last-words ()
  "Return the last two lines that the program wrote to its stderr, or nil.
An error of ours is one line, and a hint."
  (when-let ((buffer (and ragmacs-srv--connection
                          (jsonrpc-stderr-buffer ragmacs-srv--connection))))
    (when (buffer-live-p buffer)
      (with-current-buffer buffer
        (when-let ((lines (seq-remove #'ragmacs-srv--noise (split-string (buffer-string) "\n" t "[ \t]+"))))
          (string-join (last lines 2) "; "))))))

(defun ragmacs-srv--noise (line)
  "Return non-nil for a LINE that Emacs itself writes when a process ends."
  (string-prefix-p "Process " line))

(defun ragmacs-srv-error-text (error)
  "Return ERROR, as a FAILURE gets it, as one line for a person."
  (pcase-let (((map :message :hint) error))
    (if (member hint '(nil "")) message (format "%s (%s)" message hint))))

(defun ragmacs-srv-show-error (error)
  "Show ERROR, as a FAILURE gets it, in the echo area."
  (message "ragmacs: %s" (ragmacs-srv-error-text error)))

(cl-defun ragmacs-srv-request-and-wait (method params &key (timeout ragmacs-srv-timeout))
  "Return the result of METHOD with PARAMS; Emacs waits, and a quit cancels.
Signal a `user-error' that says what went wrong, also after TIMEOUT seconds.
For commands that have nothing to do before it comes; never for a filter or a
timer."
  (let* (result failed
         (token (ragmacs-srv-request method params :timeout timeout
                                     :success (lambda (value) (setq result value))
                                     :failure (lambda (error) (setq failed error)))))
    (unwind-protect
        (with-temp-message "ragmacs: waiting; a quit cancels"
          (while (gethash token ragmacs-srv--requests)
            (accept-process-output nil 0.1)))
      (ragmacs-srv-cancel-request token))
    (when failed
      (user-error "%s" (ragmacs-srv-error-text failed)))
    result))

;;;; What the server says by itself

(cl-defgeneric ragmacs-srv-handle-notification (method &rest params)
  "Take the notification METHOD, a symbol, with its PARAMS.
Those that nothing knows are dropped."
  (ignore method params))

(cl-defmethod ragmacs-srv-handle-notification ((_ (eql '$/delta)) &rest params)
  "Hand the text in PARAMS to the request that it is a piece of."
  (ragmacs-srv--tell params #'ragmacs-srv--request-on-delta (plist-get params :text)))

(cl-defmethod ragmacs-srv-handle-notification ((_ (eql '$/progress)) &rest params)
  "Hand PARAMS to the request that they are the progress of."
  (ragmacs-srv--tell params #'ragmacs-srv--request-on-progress params))

(defun ragmacs-srv--tell (params function value)
  "Call what FUNCTION gets of the request whose token is in PARAMS with VALUE."
  (when-let ((request (gethash (plist-get params :token) ragmacs-srv--requests)))
    (ragmacs-srv--wind request)
    (funcall (funcall function request) value)))

(defun ragmacs-srv--dispatch (_connection method params)
  "Handle the notification METHOD with PARAMS; an error in that is only shown."
  (with-demoted-errors "ragmacs: %S"
    (apply #'ragmacs-srv-handle-notification method params)))

;;;; Buffers that show what the server said

(defface ragmacs-srv-title '((t :inherit bold :height 1.2))
  "The question, or the title of a page.")

(defface ragmacs-srv-heading '((t :inherit bold))
  "The heading of a section.")

(defface ragmacs-srv-citation '((t :inherit link))
  "The number of a source, and its title.")

(defface ragmacs-srv-code '((t :inherit (fixed-pitch font-lock-constant-face)))
  "Code in answers and pages.")

(defface ragmacs-srv-quote '((t :inherit highlight))
  "The passage of a page that an answer quotes.")

(defvar-local ragmacs-srv--token nil
  "The request that this buffer waits for; nil when it waits for none.")

(defvar-local ragmacs-srv--again nil
  "A function that asks again what this buffer shows.")

(defvar-local ragmacs-srv--state ""
  "The words in the header line.")

(defvar ragmacs-srv-mode-map
  (let ((map (make-sparse-keymap)))
    (define-key map "n" #'ragmacs-srv-next)
    (define-key map "p" #'ragmacs-srv-previous)
    (define-key map "\t" #'ragmacs-srv-next)
    (define-key map [backtab] #'ragmacs-srv-previous)
    (define-key map "\r" #'ragmacs-srv-follow)
    (define-key map "v" #'ragmacs-srv-show-source)
    (define-key map "w" #'ragmacs-srv-copy-link)
    (define-key map "." #'ragmacs-srv-go-source)
    (define-key map "a" #'ragmacs-srv-ask)
    (define-key map "s" #'ragmacs-srv-search)
    (define-key map [remap keyboard-quit] #'ragmacs-srv-quit)
    map)
  "Keys of `ragmacs-srv-mode'.")

(define-derived-mode ragmacs-srv-mode special-mode "Ragmacs"
  "Major mode of answers, summaries and pages.

\\<ragmacs-srv-mode-map>\\[ragmacs-srv-next] and \\[ragmacs-srv-previous] go from source to source.  \\[ragmacs-srv-follow] opens one in EWW, Info, its file,
with a prefix argument in the browser; \\[ragmacs-srv-show-source] shows it beside
the answer, with the quoted passage highlighted; \\[ragmacs-srv-copy-link] copies a
link to it for Org.  \\[revert-buffer] asks again, \\[ragmacs-srv-quit] stops asking.

\\{ragmacs-srv-mode-map}"
  (setq-local revert-buffer-function (lambda (&rest _) (ragmacs-srv--ask-again)))
  (setq header-line-format '(" " (:eval ragmacs-srv--state)))
  (setq truncate-lines nil)
  (add-hook 'kill-buffer-hook #'ragmacs-srv--stop-waiting nil t)
  (visual-line-mode))

(define-button-type 'ragmacs-srv-citation
  'face 'ragmacs-srv-citation
  'follow-link t
  'action (lambda (button) (ragmacs-srv-open (ragmacs-srv--link button) current-prefix-arg)))

(defun ragmacs-srv--show (name title method params insert)
  "Show in the buffer NAME what the server gives for METHOD with PARAMS.
TITLE stands above it.  Text that it sends ahead is shown as it comes; then
INSERT, called with the result, writes all of it."
  (with-current-buffer (get-buffer-create name)
    (ragmacs-srv--stop-waiting)
    (ragmacs-srv-mode)
    (let ((inhibit-read-only t))
      (erase-buffer)
      (insert (propertize title 'face 'ragmacs-srv-title) "\n\n"))
    (goto-char (point-min))
    (setq ragmacs-srv--again (lambda () (ragmacs-srv--show name title method params insert)))
    (ragmacs-srv--start (current-buffer) method params insert))
  (pop-to-buffer name))

(defun ragmacs-srv--start (buffer method params insert)
  "Have INSERT write what METHOD with PARAMS gives at the end of BUFFER."
  (let ((start (point-max)) token)
    (setq ragmacs-srv--state "waiting; C-g cancels")
    (cl-flet ((write (state function)
                (when (buffer-live-p buffer)
                  (with-current-buffer buffer
                    (setq ragmacs-srv--state state
                          ragmacs-srv--token nil)
                    (ragmacs-srv--rewrite start function)))))
      (setq token
            (funcall
             (ragmacs-srv--asker method) method params
             :on-delta (lambda (text) (ragmacs-srv--append buffer text))
             :on-progress (lambda (progress) (ragmacs-srv--tell-state buffer progress))
             :success (lambda (result) (write (ragmacs-srv--judged result) (lambda () (funcall insert result))))
             :failure (lambda (error)
                        (ragmacs-srv-show-error error)
                        (write "failed; g asks again"
                               (lambda () (insert (ragmacs-srv-error-text error) "\n"))))))
      (when (gethash token ragmacs-srv--requests) ; it may have failed at once
        (setq ragmacs-srv--token token)))))

(defvar ragmacs-srv-summarize-function #'ragmacs-srv-request
  "What is called for the summary of a page, as `ragmacs-srv-request' is.")

(defun ragmacs-srv--asker (method)
  "Return the function that asks for METHOD."
  (if (eq method :summarize) ragmacs-srv-summarize-function #'ragmacs-srv-request))

(defun ragmacs-srv--append (buffer text)
  "Write TEXT at the end of BUFFER; point there stays where the reader put it."
  (when (buffer-live-p buffer)
    (with-current-buffer buffer
      (save-excursion
        (goto-char (point-max))
        (let ((inhibit-read-only t))
          (insert text))))))

(defun ragmacs-srv--tell-state (buffer progress)
  "Say in the header line of BUFFER how far the PROGRESS is."
  (when (buffer-live-p buffer)
    (with-current-buffer buffer
      (setq ragmacs-srv--state (concat (ragmacs-srv--progress-text progress) "; C-g cancels"))
      (force-mode-line-update))))

(defun ragmacs-srv--rewrite (start function)
  "Replace what is behind START by the work of FUNCTION.
Point stays where it is, also in windows."
  (let ((places (mapcar (lambda (window) (cons window (window-point window)))
                        (get-buffer-window-list nil nil t)))
        (here (point))
        (inhibit-read-only t))
    (delete-region start (point-max))
    (goto-char (point-max))
    (funcall function)
    (ragmacs-srv--dress start)
    (goto-char (min here (point-max)))
    (pcase-dolist (`(,window . ,place) places)
      (set-window-point window (min place (point-max))))))

(defun ragmacs-srv--dress (start)
  "Make the Markdown behind START look like it: lists hang, and code is code."
  (save-excursion
    (goto-char start)
    (while (not (eobp))
      (cond ((looking-at-p "[ \t]*```") (ragmacs-srv--dress-code))
            ((get-text-property (point) 'wrap-prefix))
            ((looking-at "[ \t]*\\(?:\\(?:[-*+]\\|[0-9]+\\.\\|\\[[0-9]+]\\)[ \t]+\\)?")
             (put-text-property (point) (line-end-position) 'wrap-prefix
                                (make-string (- (match-end 0) (point)) ?\s))))
      (forward-line))))

(defun ragmacs-srv--dress-code ()
  "Make the fenced block at point look like code, and go to its end."
  (let ((start (point)))
    (add-face-text-property start (line-end-position) 'shadow)
    (forward-line)
    (while (not (or (eobp) (looking-at-p "[ \t]*```")))
      (add-face-text-property (point) (line-end-position) 'ragmacs-srv-code)
      (forward-line))
    (add-face-text-property (point) (line-end-position) 'shadow)))

(defun ragmacs-srv--ask-again ()
  "Ask the server again for what is in this buffer."
  (unless ragmacs-srv--again
    (user-error "Nothing was asked for this buffer"))
  (funcall ragmacs-srv--again))

(defun ragmacs-srv--judged (result)
  "Return a few words about RESULT for the header line."
  (pcase-let (((map :mode :confidence :abstained :model :notes :words) result))
    (string-join
     (delq nil (list (if (eq abstained t) "nothing indexed answers this"
                       (and (numberp confidence) (format "confidence %.2f" confidence)))
                     mode
                     (and words (format "%d words" words))
                     (and (not (member model '(nil ""))) (concat "written by " model))
                     (and (> (length notes) 0) (string-join notes "; "))))
     ", ")))

;;;; Sources

(defun ragmacs-srv--source (&optional place)
  "Return the source that the button at PLACE stands for, or nil."
  (get-text-property (or place (point)) 'ragmacs-srv-source))

(defun ragmacs-srv--nearest-source ()
  "Return the source at point, or the first one behind it.
Signal a `user-error' when there is none."
  (or (ragmacs-srv--source)
      (when-let ((place (next-single-property-change (point) 'ragmacs-srv-source)))
        (ragmacs-srv--source place))
      (user-error "There is no source here")))

(defun ragmacs-srv--link (button)
  "Return the link of the source that BUTTON stands for."
  (plist-get (ragmacs-srv--source (button-start button)) :link))

(defun ragmacs-srv--make-button (start end source)
  "Have the text from START to END stand for SOURCE, a plist with a `:link'."
  (make-text-button start end
                    'type 'ragmacs-srv-citation
                    'help-echo (plist-get source :link)
                    'ragmacs-srv-source source))

(defun ragmacs-srv--insert-button (text source)
  "Insert TEXT as a button for SOURCE."
  (let ((start (point)))
    (insert text)
    (ragmacs-srv--make-button start (point) source)))

(defun ragmacs-srv-source-name (source)
  "Return title and heading of SOURCE, a citation or a result, as one line."
  (let* ((title (or (plist-get source :title) ""))
         (path (append (plist-get source :heading) nil))
         (heading (or (car (last path)) title))
         (anchor (or (plist-get source :anchor) "")))
    (replace-regexp-in-string "[ \t\n]+" " "
                              (concat (cond ((equal heading title) title)
                                            ((string-empty-p title) heading)
                                            (t (format "%s, %s" title heading)))
                                      ;; Sections of one PDF are often titled alike.
                                      (when (string-match "\\`page=\\([0-9]+\\)\\'" anchor)
                                        (format ", page %s" (match-string 1 anchor)))))))

(defun ragmacs-srv-next (&optional back)
  "Go to the next source, or BACK to the one before.
A source that is shown beside the answer is replaced by the new one."
  (interactive)
  (unless (next-button (point-min) t)
    (user-error "There are no sources here"))
  (forward-button (if back -1 1) t)
  (when (ragmacs-srv--beside)
    (ragmacs-srv-show-source)))

(defun ragmacs-srv-previous ()
  "Go to the source before."
  (interactive)
  (ragmacs-srv-next t))

(defun ragmacs-srv-follow (&optional external)
  "Open the source at point at its heading, or, if EXTERNAL, in the browser."
  (interactive "P")
  (ragmacs-srv-open (plist-get (ragmacs-srv--nearest-source) :link) external))

(defun ragmacs-srv-copy-link ()
  "Copy a link to the source at point for Org."
  (interactive)
  (let* ((source (ragmacs-srv--nearest-source))
         (link (ragmacs-srv-org-link (plist-get source :link) (ragmacs-srv-source-name source))))
    (kill-new link)
    (message "Copied %s" link)))

;;;; Pages as they are stored

(defconst ragmacs-srv--beside "*ragmacs source*"
  "The buffer for a source beside an answer.")

(defun ragmacs-srv--beside ()
  "Return the window of a source beside an answer, or nil."
  (get-buffer-window ragmacs-srv--beside))

(defun ragmacs-srv-show-source ()
  "Show the source at point beside the answer, its quote highlighted."
  (interactive)
  (pcase-let (((map :link :quote) (ragmacs-srv--nearest-source)))
    (ragmacs-srv--page link ragmacs-srv--beside
                       (lambda (buffer)
                         (ragmacs-srv--go-to buffer link quote)
                         (display-buffer buffer '(nil (inhibit-same-window . t)))))))

;;;###autoload
(defun ragmacs-srv-read (link &optional quote)
  "Show the page at LINK as it is stored, at its heading, with QUOTE highlighted.
No request is made for an indexed page."
  (interactive (list (ragmacs-srv--read-address "Read page: ")))
  (ragmacs-srv--page link nil
                     (lambda (buffer)
                       (pop-to-buffer buffer)
                       (ragmacs-srv--go-to buffer link quote))))

(defun ragmacs-srv--page (link name ready)
  "Put the page of LINK into the buffer NAME, and call READY with the buffer.
Without NAME, the buffer is named by the title of the page."
  (let ((url (car (split-string link "#"))))
    (ragmacs-srv-request
     :fetch (list :url url :stored t)
     :success (lambda (page)
                (funcall ready (ragmacs-srv--page-buffer
                                (or name (format "*ragmacs: %s*" (plist-get page :title)))
                                page))))))

(defun ragmacs-srv--page-buffer (name page)
  "Write PAGE, as the server gives it, into the buffer NAME, and return that."
  (with-current-buffer (get-buffer-create name)
    (unless (derived-mode-p 'ragmacs-srv-mode)
      (ragmacs-srv-mode))
    (let ((inhibit-read-only t))
      (erase-buffer)
      (remove-overlays)
      (insert (propertize (plist-get page :title) 'face 'ragmacs-srv-title) "\n"
              "<" (plist-get page :url) ">\n")
      (seq-do (lambda (section) (ragmacs-srv--insert-section section (plist-get page :title)))
              (plist-get page :sections))
      (ragmacs-srv--dress (point-min)))
    (setq ragmacs-srv--state (plist-get page :url))
    (goto-char (point-min))
    (current-buffer)))

(defun ragmacs-srv--insert-section (section title)
  "Insert SECTION of the page TITLE, its heading as a button."
  (let ((path (append (plist-get section :heading) nil)))
    (insert "\n")
    (when path
      (insert (make-string (length path) ?#) " ")
      (ragmacs-srv--insert-button (car (last path)) (append section (list :title title)))
      (insert "\n\n"))
    (insert (plist-get section :text) "\n")))

(defun ragmacs-srv--go-to (buffer link quote)
  "In BUFFER, go to the section at LINK, and highlight QUOTE in it."
  (with-current-buffer buffer
    (goto-char (point-min))
    (when-let ((heading (text-property-search-forward
                         'ragmacs-srv-source link
                         (lambda (link source) (equal link (plist-get source :link))))))
      (goto-char (prop-match-beginning heading)))
    (remove-overlays (point-min) (point-max) 'face 'ragmacs-srv-quote)
    (when (and quote (ragmacs-srv--search quote))
      (overlay-put (make-overlay (match-beginning 0) (match-end 0)) 'face 'ragmacs-srv-quote)
      (goto-char (match-beginning 0)))
    (when-let ((window (get-buffer-window buffer)))
      (set-window-point window (point)))))

(defun ragmacs-srv--search (quote)
  "Find QUOTE behind point, however its lines are broken.
The match data tell where it is."
  (save-excursion
    (re-search-forward (mapconcat #'regexp-quote (split-string quote) "[ \t\n]+") nil t)))

;;;; Asking

(defun ragmacs-srv--at-point ()
  "Return the region as one line, or the symbol at point, or nil."
  (if (use-region-p)
      (string-join (split-string (buffer-substring-no-properties (region-beginning) (region-end))) " ")
    (thing-at-point 'symbol t)))

(defun ragmacs-srv--read-words (prompt)
  "Read a question with PROMPT; what is at point is the default."
  (let ((words (string-trim (read-string (format-prompt prompt (ragmacs-srv--at-point))
                                         nil 'ragmacs-srv-history (ragmacs-srv--at-point)))))
    (if (string-empty-p words) (user-error "Ask something") words)))

(defvar ragmacs-srv-history nil
  "What was asked and searched for.")

;;;###autoload
(defun ragmacs-srv-ask (question &optional insert)
  "Answer QUESTION from what is indexed, in the buffer *ragmacs*.
With a prefix argument, INSERT the answer here: as Org where the buffer is Org."
  (interactive (list (ragmacs-srv--read-words "Ask") current-prefix-arg))
  (if insert
      (ragmacs-srv--insert-here :ask (list :question question) #'ragmacs-srv--answer-text)
    (ragmacs-srv--show "*ragmacs*" question :ask (list :question question)
                       #'ragmacs-srv--insert-answer)))

(defun ragmacs-srv--insert-answer (answer)
  "Insert ANSWER, its citations as buttons, and its sources with their quotes."
  (pcase-let (((map :answer :citations) answer)
              (start (point)))
    (insert (string-trim-right answer) "\n")
    (ragmacs-srv--buttonize start citations)
    (when (> (length citations) 0)
      (insert "\n" (propertize "Sources" 'face 'ragmacs-srv-heading) "\n\n")
      (seq-do #'ragmacs-srv--insert-citation citations))))

(defun ragmacs-srv--buttonize (start citations)
  "Make each [n] behind START that is one of CITATIONS a button."
  (save-excursion
    (goto-char start)
    (while (re-search-forward "\\(?:^\\|[^[:alnum:]_]\\)\\(\\[\\([0-9]+\\)\\]\\)" nil t)
      (when-let ((citation (seq-find (lambda (each)
                                       (= (plist-get each :n) (string-to-number (match-string 2))))
                                     citations)))
        (ragmacs-srv--make-button (match-beginning 1) (match-end 1) citation))
      (goto-char (match-end 1)))))

(defun ragmacs-srv--insert-citation (citation)
  "Insert CITATION as a line with a button, its link, and its quote."
  (pcase-let (((map :n :link :quote :fetched_from) citation))
    (ragmacs-srv--insert-button (format "[%d] %s" n (ragmacs-srv-source-name citation)) citation)
    (insert "\n"
            (propertize (concat "<" link ">" (if fetched_from (format " fetched from %s" fetched_from) "") "\n"
                                (propertize (string-trim-right quote) 'face 'shadow) "\n")
                        'line-prefix "    "
                        'wrap-prefix "    "))))

;;;###autoload
(defun ragmacs-srv-search (query &optional open)
  "Choose among the sections that match QUERY, and show one as it is stored.
With a prefix argument, OPEN it: in EWW, Info, its file."
  (interactive (list (ragmacs-srv--read-words "Search") current-prefix-arg))
  (let* ((found (append (plist-get (ragmacs-srv-request-and-wait :search (list :query query)) :results) nil))
         (link (if found
                   (ragmacs-srv--choose query found)
                 (user-error "Nothing indexed matches %S" query))))
    (if open
        (ragmacs-srv-open link)
      (ragmacs-srv-read link (plist-get (ragmacs-srv--result link found) :text)))))

(defun ragmacs-srv--result (link results)
  "Return the one of RESULTS that is at LINK."
  (seq-find (lambda (each) (equal link (plist-get each :link))) results))

(defun ragmacs-srv--choose (query results)
  "Let the user choose one of RESULTS, found for QUERY, and return its link."
  (completing-read (format "Sections for %S: " query)
                   (ragmacs-srv--table results)
                   nil t nil nil (plist-get (car results) :link)))

(defun ragmacs-srv--table (results)
  "Return a completion table of the links of RESULTS, annotated, best first."
  (let ((links (mapcar (lambda (each) (plist-get each :link)) results)))
    (lambda (string predicate action)
      (if (eq action 'metadata)
          `(metadata (category . url)   ; embark knows what to do with one
                     (display-sort-function . identity)
                     (cycle-sort-function . identity)
                     (annotation-function . ,(apply-partially #'ragmacs-srv--annotation results)))
        (complete-with-action action links string predicate)))))

(defun ragmacs-srv--annotation (results link)
  "Return the heading and the first words of the one of RESULTS that is at LINK."
  (let ((result (ragmacs-srv--result link results)))
    (propertize (format "  %s: %s" (ragmacs-srv-source-name result)
                        (truncate-string-to-width
                         (string-join (split-string (plist-get result :text)) " ") 60 nil nil t))
                'face 'completions-annotations)))

;;;; Inserting

(defun ragmacs-srv--insert-here (method params text)
  "Insert at point the result of METHOD with PARAMS as TEXT writes it.
TEXT is called with the result, and whether the buffer is one of Org.  Point
may move on meanwhile."
  (barf-if-buffer-read-only)
  (let ((place (point-marker)))
    (message "ragmacs: asked")
    (funcall
     (ragmacs-srv--asker method) method params
     :success (lambda (result)
                (cond ((eq (plist-get result :error) t) ; a tool's failure is a result
                       (message "ragmacs: %s" (plist-get result :text)))
                      ((buffer-live-p (marker-buffer place))
                       (ragmacs-srv--insert-at place (lambda (org) (funcall text result org)))
                       (message "ragmacs: inserted")))))))

(defun ragmacs-srv--insert-at (place text)
  "Insert at PLACE, a marker, the result of TEXT, called with whether Org is there."
  (with-current-buffer (marker-buffer place)
    (save-excursion
      (goto-char place)
      (insert (funcall text (derived-mode-p 'org-mode))))
    (set-marker place nil)))

(defun ragmacs-srv--answer-text (answer org)
  "Return ANSWER with its sources as text, in ORG or Markdown."
  (pcase-let (((map :answer :citations) answer))
    (concat (ragmacs-srv--text answer org) "\n\n"
            (mapconcat (lambda (each)
                         (format "[%d] %s %s\n" (plist-get each :n)
                                 (funcall (if org #'ragmacs-srv-org-quiet #'identity) (ragmacs-srv-source-name each))
                                 (ragmacs-srv--angle (plist-get each :link) org)))
                       citations ""))))

(defun ragmacs-srv--text (markdown org)
  "Return MARKDOWN as it is, or translated if ORG."
  (if org (ragmacs-srv-org-from-markdown markdown) markdown))

(defun ragmacs-srv--angle (link org)
  "Return LINK as Markdown and Org both know it.
In ORG, what only we can open is a link of ours."
  (if (and org (not (string-match-p "\\`https?:" link)))
      (ragmacs-srv-org-link link)
    (format "<%s>" link)))

;;;; Summaries

(declare-function eww-current-url "eww" ())
(declare-function elfeed-entry-link "ext:elfeed-db" (entry))
(declare-function elfeed-search-selected "ext:elfeed-search" (&optional ignore-region))
(defvar elfeed-show-entry)

(defun ragmacs-srv--address-here ()
  "Return the address at point, or that of this buffer, or nil."
  (cond ((derived-mode-p 'elfeed-search-mode) (car (ragmacs-srv--elfeed-links)))
        ((use-region-p) (car (ragmacs-srv--addresses (region-beginning) (region-end))))
        ((thing-at-point 'url t))
        ((get-text-property (point) 'shr-url))
        ((derived-mode-p 'eww-mode) (eww-current-url))
        ((derived-mode-p 'elfeed-show-mode) (elfeed-entry-link elfeed-show-entry))
        ((derived-mode-p 'ragmacs-srv-mode) (plist-get (ragmacs-srv--source) :link))))

(defun ragmacs-srv--elfeed-links ()
  "Return the addresses of the entries that are selected in elfeed."
  (mapcar #'elfeed-entry-link (ensure-list (elfeed-search-selected))))

(defun ragmacs-srv--addresses (start end)
  "Return the addresses on the web between START and END."
  (let (found)
    (save-excursion
      (goto-char start)
      (while (re-search-forward "https?://[^][ \t\n<>\"]+" end t)
        (push (string-trim-right (match-string-no-properties 0) "[.,;:!?)]+") found)))
    (nreverse found)))

(defun ragmacs-srv--read-address (prompt)
  "Read an address with PROMPT; the one that point is at is the default."
  (let* ((here (ragmacs-srv--address-here))
         (url (string-trim (read-string (format-prompt (string-trim-right prompt ": ") here) nil nil here))))
    (if (string-empty-p url) (user-error "Give an address") url)))

;;;###autoload
(defun ragmacs-srv-summarize-url (url &optional insert)
  "Summarize the page at URL; with #anchor, that section.
With a prefix argument, INSERT the summary here: as Org where the buffer is Org."
  (interactive (list (ragmacs-srv--read-address "Summarize") current-prefix-arg))
  (if insert
      (ragmacs-srv--insert-here :summarize (list :url url) #'ragmacs-srv--summary-text)
    (ragmacs-srv--show "*ragmacs summary*" url :summarize (list :url url)
                       #'ragmacs-srv--insert-summary)))

(defun ragmacs-srv--insert-summary (summary)
  "Insert SUMMARY, each point with a button for its section."
  (pcase-let (((map :title :url :points) summary))
    (ragmacs-srv--insert-button title (list :title title :link url))
    (insert "\n<" url ">\n\n")
    (seq-doseq (point points)
      (pcase-let (((map :text :link) point))
        (insert "- " (string-trim-right text) " ")
        (ragmacs-srv--insert-button (ragmacs-srv--anchor-name link) (list :title title :link link :quote text))
        (insert "\n")))))

(defun ragmacs-srv--anchor-name (link)
  "Return the anchor of LINK as a short name for a button."
  (format "[%s]" (or (cadr (split-string link "#")) "page")))

(defun ragmacs-srv--summary-text (summary org)
  "Return SUMMARY as text, in ORG or in Markdown."
  (pcase-let (((map :title :url :points) summary))
    (concat (if org
                (ragmacs-srv-org-heading title (list :url url))
              (format "## %s\n\n<%s>\n\n" title url))
            (mapconcat (lambda (point)
                         (format "- %s %s\n" (string-trim-right (ragmacs-srv--text (plist-get point :text) org))
                                 (ragmacs-srv--angle (plist-get point :link) org)))
                       points ""))))

;;;###autoload
(defun ragmacs-srv-summarize-list (list report)
  "Summarize each page of LIST, the text of a reading list, in the file REPORT.
LIST is the region, or what is selected in elfeed, or else a file: addresses,
one a line, or whatever else `ragmacs batch' reads.  The mode line says how far
that is; `ragmacs-srv-cancel' stops it, and the same command goes on later."
  (interactive (list (ragmacs-srv--read-list)
                     (read-file-name "Report (Org): " nil "reading-list.org")))
  (let ((file (expand-file-name report)))
    (ragmacs-srv--work :batch (list :text list) "reading list"
                       (lambda (result)
                         (message "ragmacs: %s" (ragmacs-srv--counts (plist-get result :counts)))
                         (ragmacs-srv--get-report (plist-get result :job) file "")))))

(defun ragmacs-srv--get-report (job file text)
  "Write the report of JOB into FILE; TEXT is what came of it so far."
  (ragmacs-srv-request
   :batch/result (list :job job :format "org" :start (length text))
   :success (lambda (part)
              (let ((all (concat text (plist-get part :text))))
                (if (plist-get part :next)
                    (ragmacs-srv--get-report job file all)
                  (ragmacs-srv--save-report file all))))))

(defun ragmacs-srv--save-report (file text)
  "Replace what is in FILE by TEXT, keep a backup, and show it."
  (with-current-buffer (find-file-noselect file)
    (let ((inhibit-read-only t))
      (erase-buffer)
      (insert text))
    (goto-char (point-min))
    (save-buffer)
    (display-buffer (current-buffer))))

(defun ragmacs-srv--read-list ()
  "Return the text of the reading list that is meant."
  (cond ((derived-mode-p 'elfeed-search-mode) (string-join (ragmacs-srv--elfeed-links) "\n"))
        ((use-region-p) (buffer-substring-no-properties (region-beginning) (region-end)))
        (t (with-temp-buffer
             (insert-file-contents (read-file-name "Reading list: " nil nil t))
             (buffer-string)))))

(defvar gptel-context)

;;;###autoload
(defun ragmacs-srv-add-page-to-context (url)
  "Have gptel send the page at URL along with what it is asked."
  (interactive (list (ragmacs-srv--read-address "Add to gptel's context")))
  (unless (require 'gptel-request nil t)
    (user-error "Gptel is not installed"))
  (ragmacs-srv--page url nil
                     (lambda (buffer)
                       (cl-pushnew buffer gptel-context)
                       (message "%s is in gptel's context" (buffer-name buffer)))))

;;;; Indexing

(defvar ragmacs-srv--jobs nil
  "Tokens of the indexing under way, each with its words for the mode line.")

(defvar ragmacs-srv--mode-line '(:eval (ragmacs-srv--jobs-text))
  "The construct of the mode line while something is indexed.")
(put 'ragmacs-srv--mode-line 'risky-local-variable t)

(defun ragmacs-srv--jobs-text ()
  "Return the words for the mode line while something is indexed."
  (mapconcat (lambda (job) (concat " [" (cdr job) "]")) ragmacs-srv--jobs ""))

(defun ragmacs-srv--progress-text (progress)
  "Return PROGRESS as a few words."
  (pcase-let (((map :job :done :total :eta_s) progress))
    (concat job " " (number-to-string (or done 0))
            (if total (format "/%d" total) "")
            (if (numberp eta_s) (format ", %d s left" (ceiling eta_s)) ""))))

;;;###autoload
(defun ragmacs-srv-index-build (targets)
  "Read TARGETS, collections or addresses, and make them searchable.
The mode line says how far that is; `ragmacs-srv-cancel' stops it, and what
was read until then is kept."
  (interactive (list (completing-read-multiple "Collections or addresses: " (ragmacs-srv--collections))))
  (ragmacs-srv--work :index/crawl (list :targets (vconcat targets)) (string-join targets " ")
                     #'ragmacs-srv--indexed))

(defvar ragmacs-srv-indexed-hook nil
  "What is run when other pages are indexed than before.")

(defun ragmacs-srv--indexed (result)
  "Say what the crawls in RESULT did, and run `ragmacs-srv-indexed-hook'."
  (message "ragmacs: %s" (ragmacs-srv--crawled result))
  (run-hooks 'ragmacs-srv-indexed-hook))

(defun ragmacs-srv--work (method params title done)
  "Have the server do METHOD with PARAMS, called TITLE in the mode line meanwhile.
DONE is called with the result.  Return the token."
  (let (token)
    (setq token
          (ragmacs-srv-request
           method params
           :timeout 600                 ; between two reports
           :on-progress (lambda (progress)
                          (ragmacs-srv--job token (ragmacs-srv--progress-text progress)))
           :success (lambda (result)
                      (ragmacs-srv--job token nil)
                      (funcall done result))
           :failure (lambda (error)
                      (ragmacs-srv--job token nil)
                      (ragmacs-srv-show-error error))))
    (when (gethash token ragmacs-srv--requests) ; it may have failed at once
      (ragmacs-srv--job token title))
    token))

(defun ragmacs-srv--job (token text)
  "Have the mode line say TEXT about the indexing TOKEN; nil: that is over."
  (setf (alist-get token ragmacs-srv--jobs nil t #'equal) text)
  (setq global-mode-string (if ragmacs-srv--jobs
                               (append (remq 'ragmacs-srv--mode-line (ensure-list (or global-mode-string '(""))))
                                       '(ragmacs-srv--mode-line))
                             (remq 'ragmacs-srv--mode-line global-mode-string)))
  (force-mode-line-update t))

(defun ragmacs-srv--crawled (result)
  "Return what the crawls in RESULT did, as a line."
  (mapconcat (lambda (crawl)
               (pcase-let (((map :collection :outcomes :failed) crawl))
                 (concat collection ": " (ragmacs-srv--counts outcomes)
                         (if (> (length failed) 0)
                             (format " (%s: %s)" (plist-get (aref failed 0) :url) (plist-get (aref failed 0) :reason))
                           ""))))
             (plist-get result :crawls) "; "))

(defun ragmacs-srv--counts (counts)
  "Return COUNTS, a plist of numbers, as a few words."
  (string-join (cl-loop for (what count) on counts by #'cddr
                        collect (format "%d %s" count (substring (symbol-name what) 1)))
               ", "))

(defun ragmacs-srv--collections ()
  "Return the names of the collections that the server knows."
  (let ((result (ragmacs-srv-request-and-wait :tools/call '(:name "list_collections" :arguments nil))))
    (mapcar (lambda (each) (plist-get each :name))
            (plist-get (plist-get result :data) :collections))))

;;;; Stopping, and the server itself

;;;###autoload
(defun ragmacs-srv-cancel (token)
  "Stop the request TOKEN: that of this buffer, or else one that is chosen."
  (interactive (list (or ragmacs-srv--token (ragmacs-srv--choose-request))))
  (ragmacs-srv-cancel-request token))

(defun ragmacs-srv--choose-request ()
  "Return the token of the one request under way, or of the one that is chosen."
  (let ((names (map-apply (lambda (token request)
                            (cons (format "%s %s" (substring (symbol-name (ragmacs-srv--request-method request)) 1)
                                          token)
                                  token))
                          ragmacs-srv--requests)))
    (pcase names
      ('nil (user-error "Nothing is under way"))
      (`((,_ . ,token)) token)
      (_ (cdr (assoc (completing-read "Stop: " names nil t) names))))))

(defun ragmacs-srv-quit ()
  "Stop what this buffer waits for, and quit."
  (interactive)
  (ragmacs-srv--stop-waiting)
  (keyboard-quit))

(defun ragmacs-srv--stop-waiting ()
  "Stop the request that this buffer waits for, if any."
  (when ragmacs-srv--token
    (ragmacs-srv-cancel-request ragmacs-srv--token)))

;;;###autoload
(defun ragmacs-srv-status ()
  "Say what the server is, and what is indexed."
  (interactive)
  (ragmacs-srv-request :server/status nil
                       :success (lambda (status) (message "%s" (ragmacs-srv--status-text status)))))

(defun ragmacs-srv--status-text (status)
  "Return STATUS, as the server gives it, as a line."
  (pcase-let* (((map :server :index) status)
               ((map :version :pid :uptime_s :rss_anon_mb) server)
               ((map :collections :pages :chunks) index))
    (format "ragmacs %s, pid %d, up for %s%s; %s" version pid (format-seconds "%H %M %z%S" uptime_s)
            (if rss_anon_mb (format ", %d MB" rss_anon_mb) "")
            (if (and pages (> pages 0))
                (format "indexed: %s; %d pages, %d chunks"
                        (string-join (cl-loop for (name count) on collections by #'cddr
                                              collect (format "%s (%s)" (substring (symbol-name name) 1) count))
                                     ", ")
                        pages chunks)
              "nothing is indexed yet: questions are answered from the handbook"))))

;;;###autoload
(defun ragmacs-srv-restart ()
  "End the server, for all its clients, and start it again."
  (interactive)
  (cl-flet ((start (&rest _)
              (ragmacs-srv-disconnect)
              (ragmacs-srv-status)))
    (if (ragmacs-srv-connected-p)
        (ragmacs-srv-request :server/stop nil :timeout 5 :success #'start :failure #'start)
      (start))))

;;;###autoload
(defun ragmacs-srv-log ()
  "Show what the program that speaks for the server has complained about."
  (interactive)
  (let ((buffer (and ragmacs-srv--connection (jsonrpc-stderr-buffer ragmacs-srv--connection))))
    (unless (buffer-live-p buffer)
      (user-error "The server was not started from this Emacs yet"))
    (pop-to-buffer buffer)))

;;;; Keys

(autoload 'ragmacs-srv-menu "ragmacs-srv-menu" nil t)
(autoload 'ragmacs-srv-gptel-setup "ragmacs-srv-gptel" nil t)
(autoload 'ragmacs-srv-struct-layout "ragmacs-srv-go" nil t)
(autoload 'ragmacs-srv-go-fill-type "ragmacs-srv-go" nil t)
(autoload 'ragmacs-srv-go-source "ragmacs-srv-go" nil t)
(autoload 'ragmacs-srv-open "ragmacs-srv-open" nil t)
(autoload 'ragmacs-srv-add "ragmacs-srv-collections" nil t)
(autoload 'ragmacs-srv-update "ragmacs-srv-collections" nil t)
(autoload 'ragmacs-srv-collections "ragmacs-srv-collections" nil t)
(autoload 'ragmacs-srv-org-link "ragmacs-srv-org")
(autoload 'ragmacs-srv-org-quiet "ragmacs-srv-org")
(autoload 'ragmacs-srv-org-heading "ragmacs-srv-org")
(autoload 'ragmacs-srv-org-from-markdown "ragmacs-srv-org")

;;;###autoload (autoload 'ragmacs-srv-command-map "ragmacs-srv" nil nil 'keymap)
(defvar ragmacs-srv-command-map
  (let ((map (make-sparse-keymap)))
    (define-key map "a" #'ragmacs-srv-ask)
    (define-key map "s" #'ragmacs-srv-search)
    (define-key map "u" #'ragmacs-srv-summarize-url)
    (define-key map "l" #'ragmacs-srv-summarize-list)
    (define-key map "v" #'ragmacs-srv-read)
    (define-key map "o" #'ragmacs-srv-open)
    (define-key map "c" #'ragmacs-srv-add-page-to-context)
    (define-key map "g" #'ragmacs-srv-gptel-setup)
    (define-key map "t" #'ragmacs-srv-struct-layout)
    (define-key map "f" #'ragmacs-srv-go-fill-type)
    (define-key map "i" #'ragmacs-srv-index-build)
    (define-key map "+" #'ragmacs-srv-add)
    (define-key map "U" #'ragmacs-srv-update)
    (define-key map "C" #'ragmacs-srv-collections)
    (define-key map "k" #'ragmacs-srv-cancel)
    (define-key map "?" #'ragmacs-srv-status)
    (define-key map "r" #'ragmacs-srv-restart)
    (define-key map "L" #'ragmacs-srv-log)
    (define-key map "m" #'ragmacs-srv-menu)
    map)
  "Keys of all commands; bind it where you like.")
(fset 'ragmacs-srv-command-map ragmacs-srv-command-map)

(provide 'ragmacs-srv)
;;; ragmacs-srv.el ends here
